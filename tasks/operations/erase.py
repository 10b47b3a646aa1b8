"""Erase a donor's data."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from contextlib import nullcontext

from tasks.errors import ConfigError, NotFound
from tasks.lake import Lake
from tasks.lake.tombstones import LearnedModel, Tombstone
from tasks.operations.who import os_user
from tasks.schemas import Frozen
from tasks.session import Session

_NEAR = 5
_NOT_REACHED = (
    "backups, and copies on other machines (run it again there: it clears their caches)",
    "what was exported, printed or downloaded",
    "what the models listed here have learned: their weights stay until their lines are trained again",
    "Airflow's database, and free pages of Label Studio's and MLflow's until a VACUUM",
)


class Erasure(Frozen):
    """What an erasure took, or would take."""

    erased: bool
    counts: dict[str, int]
    """What -> how many."""
    recordings: tuple[str, ...]
    """Their names."""
    labeling_tasks: dict[str, int]
    """Line -> how many."""
    models: tuple[LearnedModel, ...]
    """Model versions that learned from the donor."""
    lines: tuple[str, ...]
    """Lines that are to be trained again."""
    tombstone: str
    """Its key."""
    not_reached: tuple[str, ...] = _NOT_REACHED
    """What no erasure reaches, a sentence each."""


def erase_donor(
    session: Session,
    donor: str,
    reason: str,
    *,
    really: bool = False,
    progress: Callable[[str], None] = lambda _: None,
) -> Erasure:
    """Find all of a donor's data, and erase it if that is really wanted. Killed anywhere and run again, it goes on.

    Args:
        session: Whose lake.
        donor: As it was said when the recordings were added, or its pseudonym.
        reason: Kept on the tombstone, without the donor's name.
        really: Else nothing is changed.
        progress: Called with the name of each step before it begins.

    Raises:
        NotFound: No such donor; lists near names.
        ConfigError: No reason was given.
        StorageUnavailable: A night, a training or an export is at work, or S3 did not answer: run it again.
        ServiceUnavailable: Label Studio or MLflow did not answer: run it again.
    """
    from tasks.evidence import erasure

    donor, reason = donor.strip(), reason.strip()
    if not donor or not reason:
        raise ConfigError("erase: a donor and a reason are needed", fix="--donor NAME --reason 'consent withdrawn'")
    with erasure.quiet(session.lake) if really else nullcontext():  # what comes in meanwhile would be in no plan
        return _find_and_erase(session, donor, reason, really, progress)


def _find_and_erase(
    session: Session, donor: str, reason: str, really: bool, progress: Callable[[str], None]
) -> Erasure:
    from tasks.evidence import erasure

    lake = session.lake
    scope = erasure.scope_of(lake, donor)
    if scope is None:
        tombstone = tombstone_of(lake, donor)
        if tombstone is None:
            raise _unknown(donor, erasure.known_donors(lake))
        if really:
            erasure.finish(lake, tombstone, progress)
        return _erasure(tombstone, erased=True)
    plan = erasure.make_plan(lake, scope, reason=reason, by=os_user())
    if not really:
        return _erasure(plan.tombstone, erased=False, recordings=plan.names, tasks=plan.tasks)
    registry = session.registry if plan.runs else None
    tombstone = erasure.carry_out(lake, registry, scope, plan, progress)
    return _erasure(tombstone, erased=True, recordings=plan.names, tasks=plan.tasks)


def tombstone_of(lake: Lake, donor: str) -> Tombstone | None:
    """Find a donor's tombstone, by name or pseudonym; None where there is none."""
    from tasks.lake.pseudonyms import pseudonym

    return lake.tombstones.of(donor) or lake.tombstones.of(pseudonym(lake.settings, "donor", donor))


def readmit_donor(lake: Lake, donor: str | None) -> None:
    """Record that an erased donor comes again, so that the recordings may land.

    Raises:
        ConfigError: Nobody of that name was erased.
    """
    if lake.settings.only_brings:
        raise ConfigError("add --readmit: this machine only brings recordings", fix="say it where the nights run")
    tombstone = tombstone_of(lake, donor) if donor else None
    if tombstone is None:
        raise ConfigError(f"add: no donor {donor or '(none)'!r} was erased", fix="leave --readmit out")
    lake.tombstones.readmit(tombstone, os_user())


def _erasure(
    tombstone: Tombstone, *, erased: bool, recordings: tuple[str, ...] = (), tasks: dict[str, int] | None = None
) -> Erasure:
    return Erasure(
        erased=erased,
        counts=tombstone.counts,
        recordings=tuple(recordings),
        labeling_tasks=tasks or {},
        models=tuple(tombstone.models),
        lines=tuple(sorted(tombstone.lines)),
        tombstone=tombstone.key,
    )


def _unknown(donor: str, known: list[str]) -> NotFound:
    folded = {name.casefold(): name for name in known}
    near = [folded[one] for one in difflib.get_close_matches(donor.casefold(), folded, _NEAR, 0.5)]
    near += [name for name in known if donor.casefold() in name.casefold() and name not in near]
    return NotFound(
        f"donor {donor!r}: the lake has no recording of theirs, and no tombstone",
        expected=f"one of: {', '.join(near[:_NEAR])}" if near else "a donor of the lake",
        found=f"{len(known)} donors, none of that name",
    )
