"""Splits, classes, groups and sizes of a dataset version."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tasks.kind import Object, Row
from tasks.schemas import SPLITS

_GROUPS_SHOWN = 12
_SIZES_SHOWN = 8


@dataclass(frozen=True)
class SplitPart:
    """One split."""

    split: str
    groups: int
    recordings: int
    frames: int
    labels: dict[str, int]

    def share(self, label: str) -> float:
        """Of a class among the split's labels, 0 to 1."""
        total = sum(self.labels.values())
        return self.labels[label] / total if total else 0.0


@dataclass(frozen=True)
class GroupPart:
    """One group: a donor, else a recording."""

    name: str
    split: str
    frames: int
    share: float
    labels: dict[str, int]


@dataclass(frozen=True)
class Balance:
    """How a dataset version is made up."""

    splits: tuple[SplitPart, ...]
    groups: tuple[GroupPart, ...]
    """The largest."""
    all_groups: int
    sizes: tuple[tuple[str, int], ...]
    """Most frequent sizes in pixels, and how many frames have each."""
    all_sizes: int
    labels: dict[str, int]
    notes: tuple[str, ...]


def balance_of(
    rows: Sequence[Row], classes: Sequence[str], counted: Callable[[Sequence[Object]], list[Object]]
) -> Balance:
    """Count.

    Args:
        rows: Of the manifest, `objects` parsed.
        classes: Of the line, in its order.
        counted: Which objects count as a label each.
    """
    labels_of = [Counter(str(item["label"]) for item in counted(row["objects"])) for row in rows]
    splits, by_group = [], defaultdict[str, list[int]](list)
    for place, row in enumerate(rows):
        by_group[row["group"]].append(place)
    for split in SPLITS:
        own = [place for place, row in enumerate(rows) if row["split"] == split]
        if own:
            splits.append(
                SplitPart(
                    split,
                    len({rows[place]["group"] for place in own}),
                    len({rows[place]["recording_id"] for place in own}),
                    len(own),
                    _in_order(sum((labels_of[place] for place in own), Counter()), classes),
                )
            )
    groups = [
        GroupPart(_called(name, rows[own[0]]), rows[own[0]]["split"], len(own), len(own) / len(rows),
                  _in_order(sum((labels_of[place] for place in own), Counter()), classes))
        for name, own in by_group.items()
    ]  # fmt: skip
    groups.sort(key=lambda group: (-group.frames, group.name))
    sizes = Counter(f"{row['width_px']} × {row['height_px']}" for row in rows)
    return Balance(
        splits=tuple(splits),
        groups=tuple(groups[:_GROUPS_SHOWN]),
        all_groups=len(groups),
        sizes=tuple(sizes.most_common(_SIZES_SHOWN)),
        all_sizes=len(sizes),
        labels=_in_order(sum(labels_of, Counter()), classes),
        notes=tuple(_notes(splits, groups, classes)),
    )


def _in_order(found: Counter[str], classes: Sequence[str]) -> dict[str, int]:
    return {name: found[name] for name in classes}


def _called(group: str, row: Row) -> str:
    """A group as people know it: its donor, else the name of its recording."""
    return group.removeprefix("donor:") if group.startswith("donor:") else str(row["recording_name"])


def _notes(splits: Sequence[SplitPart], groups: Sequence[GroupPart], classes: Sequence[str]) -> list[str]:
    """What a person should know, a sentence each."""
    notes = []
    for part in splits:
        if lacking := [name for name in classes if not part.labels[name]]:
            notes.append(f"The {part.split} split has no {', no '.join(lacking)}")
    if groups and groups[0].share > 0.4 and len(groups) > 2:
        notes.append(f"{groups[0].share:.0%} of all frames are of one group, {groups[0].name}")
    whole = next((part for part in splits if part.split == "train"), None)
    for part in splits:
        for name in classes:
            if whole and part is not whole and part.labels[name] and whole.labels[name]:
                there, here = whole.share(name), part.share(name)
                if max(there, here) > 3 * min(there, here) and abs(there - here) > 0.1:
                    notes.append(f"{name} is {there:.0%} of the labels in train, and {here:.0%} in {part.split}")
    return notes
