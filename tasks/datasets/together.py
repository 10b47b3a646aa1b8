"""Stills that show the same are put into one split, before anything is recorded.

Pictures of one smear overlap, and who took them has often not noted which do. Where the leak audit finds two stills of
different splits that show the same, or parts of one another, those whose groups are new follow the others: to the split
that a recorded or pinned group stands in, else to the one that chance gave to the first of them. They are audited
again, since what moved may meet others, until nothing moves. Only stills move that are a group of their own: a donor's
were put together by a person, and a film that landed twice is a mistake that somebody should see. What was recorded
never moves, and what then still stands in two splits is refused like any leak.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from tasks.config import Line
from tasks.datasets.audit import Audit
from tasks.datasets.splits import Placement
from tasks.lake import Lake
from tasks.schemas import STILL, Split, digest

ROUNDS = 20
_SHOWN = 5
_ALIKE = {"frame", "clip", "blob"}
_Link = tuple[str, str]


def settled(
    lake: Lake, line: Line, planned: Placement, audit_of: Callable[[Mapping[str, Split]], Audit]
) -> tuple[Placement, Audit]:
    """A plan in which stills that show the same stand together, as far as they may move, and its audit.

    Args:
        lake: Knows which recordings are stills.
        line: Whose splits.
        planned: The plan, not recorded yet.
        audit_of: Audits a plan's splits.
    """
    audit = audit_of(planned.splits)
    if audit.passed:
        return planned, audit
    own = {f"recording:{oid}" for oid in _stills(lake)}
    free = {group for group in planned.new if group in own and group not in planned.pinned}
    links: dict[_Link, str] = {}
    splits, moved = dict(planned.splits), set[str]()
    for _ in range(ROUNDS):
        links |= {
            (finding.one.group, finding.other.group): f"{finding.one.recording_name} and {finding.other.recording_name}"
            for finding in audit.findings
            if finding.kind in _ALIKE
        }
        changes = _changes(line, splits, free, links)
        if not changes:
            break
        moved |= changes.keys()
        splits |= changes
        audit = audit_of(splits)
        if audit.passed:
            break
    if not moved or not {"train", "test"} <= set(splits.values()):
        return planned, audit_of(planned.splits)
    return _with(planned, splits, moved, links), audit


def _stills(lake: Lake) -> list[str]:
    rows = lake.tables.scan("recordings", {"container": STILL}, columns=["recording_id"])
    return [str(oid) for oid in rows.column("recording_id").to_pylist()]


def _changes(line: Line, splits: Mapping[str, Split], free: set[str], links: Iterable[_Link]) -> dict[str, Split]:
    """Free groups that have to stand elsewhere, so that what is linked stands together."""
    found: dict[str, Split] = {}
    for members in _components(links):
        fixed = {splits[group] for group in members if group not in free}
        if len(fixed) > 1:  # nothing that moves could mend it
            continue
        first = min(members, key=lambda group: digest(line.line, group))
        target = fixed.pop() if fixed else splits[first]
        found |= {group: target for group in members if group in free and splits[group] != target}
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


def _with(planned: Placement, splits: Mapping[str, Split], moved: set[str], links: Mapping[_Link, str]) -> Placement:
    """The plan with other splits, which says what moved."""
    named = sorted({pair for link, pair in links.items() if moved & set(link)})
    more = f" and {len(named) - _SHOWN} more" if len(named) > _SHOWN else ""
    warning = (
        f"{len(moved)} stills went to the split of others that show the same, or a part of it: "
        f"{'; '.join(named[:_SHOWN])}{more}. Without donors nobody knows what else belongs together"
    )
    return replace(
        planned,
        splits=dict(sorted(splits.items())),
        new={group: splits[group] for group in planned.new},
        warnings=(*planned.warnings, warning),
    )
