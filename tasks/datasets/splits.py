"""Which split a group stands in. Assigned once, recorded, never moved.

Fractions count groups, not frames: a group's frames grow from night to night and would shift what is owed to whom, and
what an evaluation can tell rests on how many independent groups it has seen.

New groups are placed in an order that their hashes give (so that no order of arrival within one night matters):

1. where their user pinned them;
2. until two train and one tests: where one of these is lacking (test before the second of train);
3. then to the split furthest below its fraction, relative to that fraction; ties by the group's hash.

So three groups make two to train and one to test, and no validation split; the fourth fills it.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tasks.config import MIN_GROUPS, Line
from tasks.errors import DataError, InsufficientData
from tasks.lake import Lake
from tasks.schemas import SPLITS, Split, SplitAssignment, digest, now

if TYPE_CHECKING:
    import pyarrow as pa

_FIRST_NEEDS: tuple[tuple[Split, int], ...] = (("train", 1), ("test", 1), ("train", 2))


@dataclass(frozen=True)
class Placement:
    """Where every group stands.

    Attributes:
        splits: The split of each group that has labels, and only these.
        new: Groups that have none recorded yet; `record` does.
        pinned: New groups that stand where their user wants them.
        warnings: What a person should know.
    """

    splits: dict[str, Split]
    new: dict[str, Split]
    pinned: frozenset[str]
    warnings: tuple[str, ...]


def assign(lake: Lake, line: Line, groups: Mapping[str, Split | None]) -> dict[str, Split]:
    """Place groups and record it at once: `plan`, then `record`.

    Args:
        lake: The lake.
        line: Whose splits.
        groups: Groups with accepted labels -> the split their user pinned them to, or None.

    Raises:
        InsufficientData: Too few groups, or none left to train or to test on.
    """
    record(lake, line, plan(line, groups, recorded(lake, line)))
    return {group: split for group, split in recorded(lake, line).items() if group in groups}


def recorded(lake: Lake, line: Line) -> dict[str, Split]:
    """Every group's recorded split. Were a group ever recorded twice, the first counts."""
    found: dict[str, Split] = {}
    rows = lake.tables.rows("splits", SplitAssignment, {"line": line.line})
    for row in sorted(rows, key=lambda row: (row.assigned_at, SPLITS.index(row.split))):
        found.setdefault(row.group, row.split)
    return found


def record(lake: Lake, line: Line, planned: Placement) -> int:
    """Record a plan's new groups; one that was recorded meanwhile stays where it is.

    Returns:
        How many were recorded.
    """
    rows = [
        SplitAssignment(line=line.line, group=group, split=split, pinned=group in planned.pinned, assigned_at=now())
        for group, split in sorted(planned.new.items())
    ]
    return lake.tables.append("splits", rows, key=("line", "group"))


def plan(line: Line, groups: Mapping[str, Split | None], known: Mapping[str, Split]) -> Placement:
    """Decide where groups stand, without recording it.

    Args:
        line: Whose splits.
        groups: Groups with accepted labels -> the split their user pinned them to, or None.
        known: Recorded splits; groups in it stay.

    Raises:
        InsufficientData: Fewer than three groups, or none left to train or to test on.
    """
    if len(groups) < MIN_GROUPS:
        raise _too_few(line, groups)
    splits: dict[str, Split] = {group: known[group] for group in groups if group in known}
    moved = [group for group, pin in sorted(groups.items()) if pin and known.get(group, pin) != pin]
    warnings = [f"{g} is pinned to {groups[g]} but was assigned to {known[g]}, where it stays" for g in moved]
    pins = {group: pin for group, pin in groups.items() if pin and group not in known}
    splits |= pins
    free = sorted((group for group in groups if group not in splits), key=lambda group: digest(line.line, group))
    counts = Counter(splits.values())
    for group in free:
        splits[group] = _place(line, group, counts)
        counts[splits[group]] += 1
    if lacking := [split for split in ("train", "test") if not counts[split]]:
        raise _one_sided(line, splits, lacking)
    if not counts["val"]:
        warnings.append(_no_val(line))
    if counts["train"] == 1:
        warnings.append("only one group to train on: the model will know little beyond it")
    return Placement(
        splits=dict(sorted(splits.items())),
        new={group: split for group, split in sorted(splits.items()) if group not in known},
        pinned=frozenset(pins),
        warnings=tuple(warnings),
    )


def pins_of(accepted: pa.Table) -> dict[str, Split | None]:
    """The groups of accepted annotations, and where their users pinned them.

    Raises:
        DataError: Recordings of one group are pinned to different splits. (Validation sets such recordings aside.)
    """
    found: dict[str, dict[Split, str]] = defaultdict(dict)
    columns = (accepted.column(name).to_pylist() for name in ("group", "pinned_split", "recording_name"))
    for group, pin, name in zip(*columns, strict=True):
        own = found[group]
        if pin is not None:
            own.setdefault(pin, name)
    if torn := {group: pins for group, pins in found.items() if len(pins) > 1}:
        named = "; ".join(
            f"{group}: " + ", ".join(f"{name} to {pin}" for pin, name in sorted(pins.items()))
            for group, pins in sorted(torn.items())
        )
        raise DataError(f"one group is pinned to different splits: {named}", expected="one split for each group")
    return {group: next(iter(pins), None) for group, pins in found.items()}


def _place(line: Line, group: str, counts: Counter[Split]) -> Split:
    for split, need in _FIRST_NEEDS:
        if counts[split] < need:
            return split
    fractions: dict[Split, float] = {"train": line.splits.train, "val": line.splits.val, "test": line.splits.test}
    total = counts.total() + 1
    filled = {split: counts[split] / (part * total) for split, part in fractions.items() if part > 0}
    lowest = min(filled.values())
    # Shares that are equal on paper differ in the last bits.
    tied = [split for split in filled if filled[split] <= lowest + 1e-9]
    return min(tied, key=lambda split: digest(line.line, group, split))


def _too_few(line: Line, groups: Mapping[str, object]) -> InsufficientData:
    what = "donors (or recordings without a donor)" if line.splits.group == "donor" else "recordings"
    more = MIN_GROUPS - len(groups)
    return InsufficientData(
        f"line {line.line}: cannot split {len(groups)} {what} with accepted labels",
        expected=f"at least {MIN_GROUPS}: two to train on, one to test on",
        found=", ".join(sorted(groups)) or "none",
        fix=f"label recordings of {more} more; frames of one group never stand in two splits",
    )


def _one_sided(line: Line, splits: Mapping[str, Split], lacking: Sequence[str]) -> InsufficientData:
    standing = "; ".join(f"{group} in {split}" for group, split in sorted(splits.items()))
    return InsufficientData(
        f"line {line.line}: no group with accepted labels stands in {' or '.join(lacking)}",
        expected="at least one each in train and test",
        found=standing,
        fix="label a recording of another donor (a new group goes where one is lacking); a recorded group never moves",
    )


def _no_val(line: Line) -> str:
    if line.splits.val == 0:
        return "no validation split: the line asks for none; training runs a fixed length and takes the last weights"
    return (
        "no validation split: too few groups for one; training runs a fixed length and takes the last weights. "
        "The next new group fills it"
    )
