"""Who is in charge of a line, by MLflow and by the lake's own record of who was put there: both, or nobody is.

Anybody who reaches MLflow can move an alias or delete a model. A champion that is not found there is "no champion" only
where the lake, too, knows of none: else the gates that compare would be switched off by a slip of somebody's mouse.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tasks.errors import DataError, NotFound
from tasks.lake import Lake
from tasks.schemas import EvidenceEntry, NightState, Verdict

if TYPE_CHECKING:
    from tasks.registry import ModelRecord, Registry

IN_CHARGE = (NightState.PROMOTED, NightState.ROLLED_BACK)
"""Outcomes by which an entry's model version took charge."""


def champion_of(lake: Lake, registry: Registry, line: str) -> ModelRecord | None:
    """The model in charge; None where nobody was ever put in charge.

    To be asked while nobody changes it: within `undertaking.command`.

    Raises:
        DataError: MLflow calls another version champion than the one that was put in charge, or none, or one that is
            not ours; with what to do.
    """
    from tasks.registry.models import CHAMPION, not_by_us

    order, champion = last_order(lake, line), registry.champion(line)
    wanted = order.model_version if order else None
    if champion is None and order is None:
        return None
    if champion is None or (order and champion.version != wanted):
        return _not_as_it_was_left(line, order, champion)
    if order is None and not _by_a_verdict(lake, champion):
        raise not_by_us(line, champion.version, CHAMPION, "nothing in the lake says who put it there, or why")
    return champion


def last_order(lake: Lake, line: str) -> EvidenceEntry | None:
    """The evidence by which somebody took charge of the line last; None: nobody ever did."""
    from tasks import evidence

    orders = [entry for entry in evidence.entries(lake, line) if entry.outcome in IN_CHARGE]
    return orders[-1] if orders else None


def _not_as_it_was_left(line: str, order: EvidenceEntry | None, champion: ModelRecord | None) -> ModelRecord:
    from tasks.registry.models import CHAMPION, not_by_us

    number, wanted = (order.number, order.model_version) if order else (0, None)
    back = f'nightscope promote {line} --to {wanted} --override --note "why" puts it back'
    if champion is not None:
        raise not_by_us(line, champion.version, CHAMPION, f"evidence {number} put version {wanted} in charge; {back}")
    raise DataError(
        f"line {line}: MLflow calls no version champion",
        expected=f"version {wanted}, which evidence {number} put in charge",
        found="the alias, the version or the whole model was taken away by hand",
        fix=f"{back}, or --to another version; if the whole model was deleted, the night has just registered its "
        "challenger anew, and that is a version to name",
    )


def _by_a_verdict(lake: Lake, champion: ModelRecord) -> bool:
    """Whether a verdict of ours lies behind it: of a lake from a time when evidence was not kept yet."""
    from tasks.steps.verdicts import verdict_named

    if champion.verdict_id is None or champion.promoted_at is None:
        return False
    try:
        verdict: Verdict = verdict_named(lake, champion.verdict_id)
    except NotFound:
        return False
    return (verdict.line, verdict.model_version) == (champion.line, champion.version)
