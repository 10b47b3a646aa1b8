"""Putting a model in charge: several calls to a registry that knows no transactions, made to look like one.

An intent is written first: a tag on the registered model that says who is to follow whom, by which verdict, since when.
Then the moves it names, each of which may be repeated; then the intent is deleted. Whoever finds an intent carries it
out before anything else: killed anywhere, the next call leads to the one state that was meant. Readers look at the
alias `champion` alone, so they see the old champion or the new one, never none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import ValidationError

from tasks.schemas import Aliases, Frozen, now

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import RegisteredModel

INTENT = "nightscope.promotion"
PROMOTED_AT, VERDICT = "nightscope.promoted_at", "nightscope.verdict"


class Intent(Frozen):
    """A change of command that was begun."""

    version: str
    follows: str | None
    verdict_id: str | None
    at: str


def promote(client: MlflowClient, line: str, version: str, verdict_id: str | None) -> None:
    """Make `version` the champion. Repeating it changes nothing.

    Args:
        client: MLflow's.
        line: Whose champion.
        version: Of the line's model.
        verdict_id: By which verdict; None: the version keeps the verdict that it has (a rollback, say).
    """
    settle(client, line)
    held = aliases(client, line)
    if held.champion == version:
        if verdict_id is None or client.get_model_version(line, version).tags.get(VERDICT) == verdict_id:
            return
        follows = held.previous
    else:
        follows = held.champion
    intent = Intent(version=version, follows=follows, verdict_id=verdict_id, at=now().isoformat())
    client.set_registered_model_tag(line, INTENT, intent.model_dump_json())
    carry_out(client, line, intent)


def settle(client: MlflowClient, line: str) -> None:
    """Complete a change that was broken off, if there is one.

    One that nobody can complete is crossed out, and said: it would stand in the way of every night and rollback.
    """
    from mlflow.exceptions import MlflowException

    unfinished = client.get_registered_model(line).tags.get(INTENT)
    if not unfinished:
        return
    try:
        intent = Intent.model_validate_json(unfinished)
        client.get_model_version(line, intent.version)
    except (ValidationError, MlflowException) as error:
        if isinstance(error, MlflowException) and error.error_code not in _GONE:
            raise
        print(f"line {line}: the tag {INTENT} in MLflow cannot be carried out and is removed: {unfinished[:200]!r}")
        client.delete_registered_model_tag(line, INTENT)
        return
    carry_out(client, line, intent)


_GONE = {"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"}
"""MLflow's words for a version that is not there, and for one that no version can be called."""


def carry_out(client: MlflowClient, line: str, intent: Intent) -> None:
    """Do what the intent says. Every call may be repeated; deleting the intent ends it.

    The version's tags come first: once it is champion, everybody can read since when and why.
    """
    client.set_model_version_tag(line, intent.version, PROMOTED_AT, intent.at)
    if intent.verdict_id is not None:
        client.set_model_version_tag(line, intent.version, VERDICT, intent.verdict_id)
    if intent.follows is not None:
        client.set_registered_model_alias(line, "previous", intent.follows)
    client.set_registered_model_alias(line, "champion", intent.version)
    if aliases(client, line).challenger == intent.version:
        client.delete_registered_model_alias(line, "challenger")
    client.delete_registered_model_tag(line, INTENT)


def aliases(client: MlflowClient, line: str) -> Aliases:
    """Which versions the line's aliases mean."""
    return aliases_of(client.get_registered_model(line))


def aliases_of(model: RegisteredModel) -> Aliases:
    """Which versions a model's aliases mean; versions are strings here, whatever the store says."""
    return Aliases(**{name: str(model.aliases[name]) for name in Aliases.model_fields if name in model.aliases})
