"""Putting a model in charge: several calls to a registry that knows no transactions, made to look like one.

Each of the moves may be repeated, and what is still to be done can be seen from what stands there: killed anywhere, the
same promotion again leads to the one state that was meant. That it is called again is the lake's business: the signed
order waits there until it is carried out (`tasks/promotion/journal.py`). Readers look at the alias `champion` alone, so
they see the old champion or the new one, never none.

Nothing in MLflow orders anything: whoever may log a run there may write any tag. A tag that was such an order once,
`nightscope.promotion`, is never carried out; it is crossed out, aloud.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from tasks.escaping import plain_text
from tasks.schemas import Aliases, now

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import RegisteredModel

log = logging.getLogger(__name__)

INTENT = "nightscope.promotion"
PROMOTED_AT, VERDICT = "nightscope.promoted_at", "nightscope.verdict"


def promote(client: MlflowClient, line: str, version: str, verdict_id: str | None) -> None:
    """Make `version` the champion. Repeating it changes nothing, and completes what was broken off.

    The version's tags come first: once it is champion, everybody can read since when and why.

    Args:
        client: MLflow's.
        line: Whose champion.
        version: Of the line's model.
        verdict_id: By which verdict; None: the version keeps the verdict that it has (a rollback, say).
    """
    settle(client, line)
    held = aliases(client, line)
    if held.champion != version or not _judged_by(client, line, version, verdict_id):
        client.set_model_version_tag(line, version, PROMOTED_AT, now().isoformat())
        if verdict_id is not None:
            client.set_model_version_tag(line, version, VERDICT, verdict_id)
    if held.champion != version:
        if held.champion is not None:
            client.set_registered_model_alias(line, "previous", held.champion)
        client.set_registered_model_alias(line, "champion", version)
    if held.challenger == version:
        client.delete_registered_model_alias(line, "challenger")


def _judged_by(client: MlflowClient, line: str, version: str, verdict_id: str | None) -> bool:
    return verdict_id is None or client.get_model_version(line, version).tags.get(VERDICT) == verdict_id


def settle(client: MlflowClient, line: str) -> None:
    """Cross out the tag that looks like an order, if there is one, and say so."""
    found = client.get_registered_model(line).tags.get(INTENT)
    if found is None:
        return
    log.warning(
        f"line {line}: the tag {INTENT} in MLflow is NOT carried out, and removed: {plain_text(found, 200)!r}. "
        "Who takes charge stands in the lake, signed; a tag anybody can write",
    )
    client.delete_registered_model_tag(line, INTENT)


def aliases(client: MlflowClient, line: str) -> Aliases:
    """Which versions the line's aliases mean."""
    return aliases_of(client.get_registered_model(line))


def aliases_of(model: RegisteredModel) -> Aliases:
    """Which versions a model's aliases mean; versions are strings here, whatever the store says."""
    return Aliases(**{name: str(model.aliases[name]) for name in Aliases.model_fields if name in model.aliases})
