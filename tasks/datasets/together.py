"""Stills that show the same are put into one split, before anything is recorded.

Pictures of one smear overlap, and who took them has often not noted which do. Where the leak audit finds two stills of
different splits that show the same, or parts of one another, those whose groups are new follow the others: to the split
that a recorded or pinned group stands in, else to the one that chance gave to the first of them. They are audited
again, since what moved may meet others, until nothing moves. Only stills move that are a group of their own: a donor's
were put together by a person, and a film that landed twice is a mistake that somebody should see. What was recorded
never moves, and what then still stands in two splits is refused like any leak. Cross-validation does the same with its
folds.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from tasks.config import Line
from tasks.datasets.splits import Placement
from tasks.lake import Lake
from tasks.leakage import Audit
from tasks.schemas import STILL, Split, digest

ROUNDS = 20
_SHOWN = 5
_ALIKE = {"blob", "frame", "clip", "crop"}
_Link = tuple[str, str]
Place = TypeVar("Place")
_NEEDED: tuple[Split, ...] = ("train", "test")


@dataclass(frozen=True)
class Together(Generic[Place]):
    """Where groups stand, once stills that show the same stand together.

    Attributes:
        places: Of every group.
        audit: Of these.
        moved: Groups that do not stand where they were.
        named: Pairs of pictures for which they moved.
    """

    places: dict[str, Place]
    audit: Audit
    moved: frozenset[str] = frozenset()
    named: tuple[str, ...] = ()

    @property
    def warning(self) -> str:
        """What a person should know."""
        more = f" and {len(self.named) - _SHOWN} more" if len(self.named) > _SHOWN else ""
        return (
            f"{len(self.moved)} stills went to where others stand that show the same, or a part of it: "
            f"{'; '.join(self.named[:_SHOWN])}{more}. Without donors nobody knows what else belongs together"
        )


def settled(
    lake: Lake, line: Line, planned: Placement, audit_of: Callable[[Mapping[str, Split]], Audit]
) -> tuple[Placement, Audit]:
    """A plan in which stills that show the same stand in one split, as far as they may move, and its audit.

    Args:
        lake: Knows which recordings are stills.
        line: Whose splits.
        planned: The plan, not recorded yet.
        audit_of: Audits a plan's splits.
    """
    free = planned.new.keys() - planned.pinned
    found = brought_together(lake, line.line, planned.splits, free, audit_of, needed=_NEEDED)
    if not found.moved:
        return planned, found.audit
    splits = dict(sorted(found.places.items()))
    new = {group: splits[group] for group in planned.new}
    return replace(planned, splits=splits, new=new, warnings=(*planned.warnings, found.warning)), found.audit


def brought_together(
    lake: Lake,
    seed: str,
    places: Mapping[str, Place],
    free: Collection[str],
    audit_of: Callable[[Mapping[str, Place]], Audit],
    *,
    needed: Collection[Place],
) -> Together[Place]:
    """Move groups of single stills, so that those that show the same stand in one place.

    Args:
        lake: Knows which recordings are stills.
        seed: Decides, with the groups' names, whom others follow.
        places: Group → split, or fold.
        free: Groups that may move, if they are single stills.
        audit_of: Finds what stands in two places.
        needed: Places that must not become empty; then nothing moves.
    """
    first = audit = audit_of(places)
    if audit.passed:
        return Together(dict(places), audit)
    may = set(free) & {f"recording:{oid}" for oid in _stills(lake)}
    links: dict[_Link, str] = {}
    now, moved = dict(places), set[str]()
    for _ in range(ROUNDS):
        links |= {
            (finding.one.group, finding.other.group): f"{finding.one.recording_name} and {finding.other.recording_name}"
            for finding in audit.findings
            if finding.kind in _ALIKE
        }
        changes = _changes(seed, now, may, links)
        if not changes:
            break
        moved |= changes.keys()
        now |= changes
        audit = audit_of(now)
        if audit.passed:
            break
    if not moved or not set(needed) <= set(now.values()):
        return Together(dict(places), first)
    named = sorted({pair for link, pair in links.items() if moved & set(link)})
    return Together(now, audit, frozenset(moved), tuple(named))


def _stills(lake: Lake) -> list[str]:
    rows = lake.tables.scan("recordings", {"container": STILL}, columns=["recording_id"])
    return [str(oid) for oid in rows.column("recording_id").to_pylist()]


def _changes(seed: str, places: Mapping[str, Place], free: set[str], links: Iterable[_Link]) -> dict[str, Place]:
    """Free groups that have to stand elsewhere, so that what is linked stands together."""
    found: dict[str, Place] = {}
    for members in _components(links):
        fixed = {places[group] for group in members if group not in free}
        if len(fixed) > 1:  # nothing that moves could mend it
            continue
        first = min(members, key=lambda group: digest(seed, group))
        target = fixed.pop() if fixed else places[first]
        found |= {group: target for group in members if group in free and places[group] != target}
    return found


def _components(links: Iterable[_Link]) -> list[list[str]]:
    """Groups that hang together by any chain of links."""
    of: dict[str, str] = {}

    def root(group: str) -> str:
        while of.setdefault(group, group) != group:
            of[group] = of[of[group]]
            group = of[group]
        return group

    for one, other in links:
        of[root(one)] = root(other)
    members: dict[str, list[str]] = defaultdict(list)
    for group in sorted(of):
        members[root(group)].append(group)
    return list(members.values())
