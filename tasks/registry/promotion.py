"""Promotion: several calls to a registry that knows no transactions, made to look like one.

An intent is written first: a tag on the registered model that says who is to follow whom, by which verdict, since when.
Then the moves it names, each of which may be repeated; then the intent is deleted. Whoever finds an intent carries it
out before anything else: killed anywhere, the next call leads to the one state that was meant. Readers look at the
alias `champion` alone, so they see the old champion or the new one, never none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tasks.schemas import Frozen, now

if TYPE_CHECKING:
    from mlflow import MlflowClient

INTENT = "nightscope.promotion"
PROMOTED_AT, VERDICT = "nightscope.promoted_at", "nightscope.verdict"


class Intent(Frozen):
    """A promotion that was begun."""

    version: str
    follows: str | None
    verdict_id: str
    at: str


def promote(client: MlflowClient, line: str, version: str, verdict_id: str) -> None:
    """Make `version` the champion, by `verdict_id`. Repeating it changes nothing."""
    settle(client, line)
    model = client.get_registered_model(line)
    champion = model.aliases.get("champion")
    champion = None if champion is None else str(champion)
    if champion == version and client.get_model_version(line, version).tags.get(VERDICT) == verdict_id:
        return
    follows = champion if champion != version else _text_or_none(model.aliases.get("previous"))
    intent = Intent(version=version, follows=follows, verdict_id=verdict_id, at=now().isoformat())
    client.set_registered_model_tag(line, INTENT, intent.model_dump_json())
    carry_out(client, line, intent)


def settle(client: MlflowClient, line: str) -> None:
    """Complete a promotion that was broken off, if there is one."""
    if unfinished := client.get_registered_model(line).tags.get(INTENT):
        carry_out(client, line, Intent.model_validate_json(unfinished))


def carry_out(client: MlflowClient, line: str, intent: Intent) -> None:
    """Do what the intent says. Every call may be repeated; deleting the intent ends it.

    The version's tags come first: once it is champion, everybody can read since when and why.
    """
    client.set_model_version_tag(line, intent.version, PROMOTED_AT, intent.at)
    client.set_model_version_tag(line, intent.version, VERDICT, intent.verdict_id)
    if intent.follows is not None:
        client.set_registered_model_alias(line, "previous", intent.follows)
    client.set_registered_model_alias(line, "champion", intent.version)
    if str(client.get_registered_model(line).aliases.get("challenger")) == intent.version:
        client.delete_registered_model_alias(line, "challenger")
    client.delete_registered_model_tag(line, INTENT)


def _text_or_none(value: object) -> str | None:
    return None if value is None else str(value)
