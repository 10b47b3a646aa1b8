"""Who is in charge of a line, by MLflow and by the lake's own record of who was put there: both, or nobody is.

Anybody who reaches MLflow can move an alias or delete a model. A champion that is not found there is "no champion" only
where the lake, too, knows of none: else the gates that compare would be switched off by a slip of somebody's mouse.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from tasks.errors import ConfigError, DataError, IntegrityError, NotFound, SignatureError
from tasks.escaping import plain_text
from tasks.lake import Lake
from tasks.schemas import Decision, EvidenceEntry, NightState, Verdict

if TYPE_CHECKING:
    from tasks.registry import ModelRecord, Registry
    from tasks.session import Session

log = logging.getLogger(__name__)

IN_CHARGE = (NightState.PROMOTED, NightState.ROLLED_BACK)
"""Outcomes by which an entry's model version took charge."""


def champion_of(lake: Lake, registry: Registry, line: str) -> ModelRecord | None:
    """Find the model in charge; None where nobody was ever put in charge.

    To be asked while nobody changes it: within `journal.promotion_lock`.

    Raises:
        DataError: MLflow calls another version champion than the one that was put in charge, or none, or one that is
            not ours; or the evidence of who was is not believed (`last_promotion`); with what to do.
    """
    from tasks.registry.models import CHAMPION, not_by_us

    order, champion = last_promotion(lake, line), registry.champion(line)
    wanted = order.model_version if order else None
    if champion is None and order is None:
        return None
    if champion is None or (order and champion.version != wanted):
        return _not_as_it_was_left(line, order, champion)
    if order is None and not _by_a_verdict(lake, champion):
        raise not_by_us(line, champion.version, CHAMPION, "nothing in the lake says who put it there, or why")
    return champion


def champion_now(lake: Lake, registry: Registry, line: str) -> ModelRecord | None:
    """Find the model in charge without waiting for a promotion or finishing one, for who only looks.

    Raises:
        DataError: As `champion_of`; or a promotion is under way, between MLflow and its evidence.
    """
    try:
        champion = champion_of(lake, registry, line)
    except DataError as error:
        if said := _under_way(lake, line):
            raise DataError(
                f"line {line}: a promotion is under way: {said}",
                fix=f"ask again in a moment; one that was broken off, the next night or the next promotion of {line} "
                "finishes",
            ) from error
        return champion_of(lake, registry, line)  # finished between the two looks, or as bad as it was
    if champion is None and (said := _under_way(lake, line)):
        raise NotFound(
            f"line {line} has no champion yet: a promotion is under way: {said}", fix="ask again in a moment"
        )
    return champion


def find_model(session: Session, name: str, version: str | None = None) -> ModelRecord:
    """Find a version as the lake knows it: never by a tag of MLflow alone.

    Args:
        session: Whose lake and registry.
        name: The line.
        version: Of its model; default the champion.

    Raises:
        NotFound: The line has no champion yet, or no such version.
        DataError: MLflow calls a version champion that no verdict and no person of ours put there.
        IntegrityError: No training in the lake says that it made the version.
    """
    from tasks.training.records import vouched

    session.line(name)
    if version is None:
        record = champion_now(session.lake, session.registry, name)
        if record is None:
            raise NotFound(f"line {name} has no champion yet", fix=f"nightscope run {name}, or name a version")
    else:
        record = session.registry.version(name, version)
    return vouched(session.lake, record)


def last_promotion(lake: Lake, line: str) -> EvidenceEntry | None:
    """Find the evidence by which a version last took charge of the line; None where none ever did.

    Raises:
        IntegrityError: Evidence was forged, changed or cut off since; a SignatureError: nobody trusted here signed it.
            Then nothing says any more who is in charge, until a person does.
    """
    from tasks.evidence import chain, heads

    links = chain.entries(lake, line)
    order = next((link for link in reversed(links) if link.outcome in IN_CHARGE), None)
    since = order.number if order else 0
    for link in links:
        if link.number >= since:
            _check(lake, link, links)
    try:
        lost = heads.lost_of(heads.read(lake.settings).get(line), links)
    except ConfigError:  # `verify` says so
        lost = ()
    if order and lost:  # by its bundle's time, which is signed: after a cut, numbers are given out again
        known = chain.load(lake, order.bundle_oid).made_at
        lost = tuple(one for one in lost if datetime.fromisoformat(one.at) > known)
    if lost:
        raise IntegrityError(
            f"line {line}: evidence {lost[-1].number}, which this machine has seen, is not there any more",
            expected=f"bundle {lost[-1].bundle_oid}",
            found=f"{len(links)} entries without it",
            fix=_by_hand(line),
        )
    return order


def put_in_charge(lake: Lake, line: str, version: str) -> EvidenceEntry | None:
    """Find the evidence by which a line's champion took charge; None where the last promotion was another version's."""
    order = last_promotion(lake, line)
    return order if order and order.model_version == version else None


def was_in_charge(lake: Lake, record: ModelRecord) -> bool:
    """Whether a version was ever put in charge, as the evidence says; a tag in MLflow anybody can write.

    Of a lake from a time when evidence was not kept yet, a verdict of ours says so.
    """
    from tasks.evidence import chain

    links = chain.entries(lake, record.line)
    for link in reversed(links):
        if link.outcome in IN_CHARGE and link.model_version == record.version and record.created_at <= link.at:
            try:
                chain.check_row(lake, link, links)
            except DataError as error:
                log.warning(f"line {record.line}: evidence {link.number} is left out of account: {error}")
            else:
                return True
    return _by_a_verdict(lake, record)


def _under_way(lake: Lake, line: str) -> str | None:
    """Describe the change that waits, where somebody trusted here gave it as the line's next evidence."""
    from tasks.evidence import chain, pending_promotions

    try:
        opened = pending_promotions.opened(lake.settings, line, lake.store.get_bytes(pending_promotions.key_of(line)))
    except (NotFound, SignatureError):
        return None
    if opened.number != len(chain.entries(lake, line)) + 1 or not isinstance(opened.value, dict):
        return None
    told = {name: plain_text(str(opened.value.get(name) or "")) for name in ("action", "model_version", "by")}
    by = f", by {told['by']}" if told["by"] else ""
    return f"{told['action']} of version {told['model_version'] or 'none'}, as evidence {opened.number}{by}"


def _check(lake: Lake, link: EvidenceEntry, links: Sequence[EvidenceEntry]) -> None:
    from tasks.evidence import chain

    try:
        chain.check_row(lake, link, links)
    except DataError as error:
        kind = SignatureError if isinstance(error, SignatureError) else IntegrityError
        raise kind(
            f"line {link.line}: evidence {link.number} ({link.outcome}, version {link.model_version}) is not believed",
            expected="evidence that somebody who is trusted here signed",
            found=str(error),
            fix=_by_hand(link.line),
        ) from error


def _by_hand(line: str) -> str:
    return (
        f"`nightscope verify {line}` says what else was changed; a person says who is in charge: "
        f'nightscope promote {line} --to VERSION --override --note "why"'
    )


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
    """Whether a verdict of ours lies behind it, and nothing else that is on record about that verdict.

    Of a lake from a time when evidence was not kept yet.
    """
    from tasks.evidence import chain
    from tasks.lake.signed import before_signing
    from tasks.promotion.verdict_rows import doubt, verdict_named

    if champion.verdict_id is None or champion.promoted_at is None:
        return False
    try:
        verdict: Verdict = verdict_named(lake, champion.verdict_id)
    except NotFound:
        return False
    old = verdict.signature is None and before_signing(lake.settings, champion.created_at)
    if not old and doubt(lake.settings, verdict) is not None:
        return False
    judged = (verdict.line, verdict.model_version) == (champion.line, champion.version)
    ended = {link.outcome for link in chain.entries(lake, champion.line) if link.verdict_id == verdict.verdict_id}
    return judged and verdict.verdict is Decision.PROMOTE and not ended - set(IN_CHARGE)
