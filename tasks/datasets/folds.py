"""K folds of a dataset version, by group: every donor (else recording) is tested once, by a model that has not seen it.

Groups are spread so that the folds' shares of frames and of each class's objects differ as little as possible: the
largest groups first, each into the fold where it evens most out. (scikit-learn's StratifiedGroupKFold does the same for
one label a sample; a frame has many, and its folds may stay empty.) The seed decides between groups of similar size.

A fold has no validation split. With the few groups that cross-validation is for, setting one aside would take a fifth
or more of what is learned from, and one group is too noisy to choose an epoch by: each fold trains its recipe's full
length and takes the last weights, as a line with few groups does in its nights.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tasks.config import Line
from tasks.datasets.experiments import save_experiment
from tasks.datasets.together import brought_together
from tasks.errors import ConfigError, InsufficientData
from tasks.kind import Kind
from tasks.lake import Lake, Manifest
from tasks.leakage import Audit
from tasks.schemas import Split, digest

if TYPE_CHECKING:
    import pyarrow as pa

WHAT = "cross-validation"
LeakCheck = Callable[["pa.Table"], dict[str, Any]]
"""Audits manifest rows: what a version's record keeps of it, or LeakageError."""


def make_folds(
    lake: Lake,
    line: Line,
    kind: Kind,
    base: Manifest,
    folds: int,
    seed: int,
    *,
    audit: LeakCheck,
    look: Callable[[pa.Table], Audit] | None = None,
) -> list[str]:
    """Make K dataset versions of one: fold i tests on the groups that are its own and trains on all others.

    The same arguments give the same versions. They are audited all at once, as a split in K: two frames of different
    folds stand on different sides of some fold, and no others do.

    Args:
        lake: Where the versions go.
        line: Whose they are.
        base: The version whose frames are spread.
        folds: K.
        seed: Of the spread.
        audit: Refuses what leaks.
        look: Sees what leaks, so that stills that show the same go to one fold first (`together`); None: they stay.

    Returns:
        The folds' versions, in order. The record of each has `experiment` (with `fold` and `folds`, from 1), `splits`,
        `counts`, `warnings`, `leak_check`.

    Raises:
        ConfigError: Fewer than two folds.
        InsufficientData: Fewer groups than folds.
        LeakageError: Something of one fold also stands in another.
    """
    fold_of = assign(sizes(base.rows, kind), folds, seed, line=line)
    groups = base.rows.column("group").to_pylist()

    def spread(places: Mapping[str, int]) -> pa.Table:
        return _split_in(base.rows, [f"fold {places[group]}" for group in groups])

    more: list[str] = []
    if look is not None:
        found = brought_together(
            lake,
            f"{line.line} {seed}",
            fold_of,
            fold_of,
            lambda places: look(spread(places)),
            needed=range(1, folds + 1),
        )
        fold_of, more = found.places, [found.warning] if found.moved else []
    leak_check = audit(spread(fold_of))
    versions = []
    for fold in range(1, folds + 1):
        splits: dict[str, Split] = {g: "test" if own == fold else "train" for g, own in sorted(fold_of.items())}
        versions.append(
            save_experiment(
                lake,
                line,
                kind,
                base,
                base.rows,
                [splits[group] for group in groups],
                {"what": WHAT, "fold": fold, "folds": folds, "seed": seed},
                splits=splits,
                warnings=[*warnings_of(line, kind, base.rows, splits), *more],
                leak_check=leak_check,
            )
        )
    return versions


def assign(
    groups: Mapping[str, Mapping[str, int]], folds: int, seed: int, *, line: Line | None = None
) -> dict[str, int]:
    """Which fold tests each group: 1 to `folds`, none of them empty.

    Args:
        groups: What each group holds: counts by name, e.g. `{"frames": 40, "label sperm": 812}`.
        folds: K.
        seed: The same seed gives the same folds, in whatever order the groups come.
        line: For messages.

    Raises:
        ConfigError: Fewer than two folds.
        InsufficientData: Fewer groups than folds.
    """
    what = f"line {line.line}: " if line else ""
    if folds < 2:
        raise ConfigError(f"{what}cannot cross-validate with {folds} folds", expected="at least 2")
    if len(groups) < folds:
        raise InsufficientData(
            f"{what}cannot make {folds} folds of {len(groups)} donors (or recordings without a donor)",
            expected="at least one group for each fold: frames of one group never stand on both sides",
            found=", ".join(sorted(groups)) or "none",
            fix=f"say --folds {len(groups)}, or label recordings of {folds - len(groups)} more"
            if len(groups) > 1
            else "label recordings of more donors",
        )
    order, shares = _in_order(groups, folds, seed)
    filled = np.zeros((folds, shares.shape[1]))
    members: Counter[int] = Counter()
    found: dict[str, int] = {}
    for left, (group, share) in enumerate(zip(order, shares, strict=True)):
        empty = [fold for fold in range(folds) if not members[fold]]
        # The last groups must go where there is none yet.
        candidates = empty if len(order) - left <= len(empty) else range(folds)
        after = {fold: float(np.var(_plus(filled, fold, share), axis=0).sum()) for fold in candidates}
        lowest = min(after.values())
        # Sums that are equal on paper differ in the last bits.
        best = min((fold for fold in after if after[fold] <= lowest + 1e-12), key=lambda fold: (members[fold], fold))
        filled[best] += share
        members[best] += 1
        found[group] = best + 1
    return found


def sizes(rows: pa.Table, kind: Kind) -> dict[str, dict[str, int]]:
    """What each group of a manifest holds: frames, and labelled objects by class."""
    found: dict[str, Counter[str]] = defaultdict(Counter)
    columns = (rows.column(name).to_pylist() for name in ("group", "objects"))
    for group, objects in zip(*columns, strict=True):
        found[group]["frames"] += 1
        labels = kind.checks.counted(json.loads(objects or "[]"))
        found[group].update(f"label {item['label']}" for item in labels)
    return {group: dict(counted) for group, counted in found.items()}


def _in_order(groups: Mapping[str, Mapping[str, int]], folds: int, seed: int) -> tuple[list[str], Any]:
    """Groups from large to small, shuffled among `folds` neighbours; and their shares of every count, [n, counts]."""
    names = sorted(groups)
    columns = sorted({column for counted in groups.values() for column in counted})
    table = np.array([[groups[name].get(column, 0) for column in columns] for name in names], dtype=np.float64)
    shares = table / np.maximum(table.sum(axis=0), 1) if columns else np.zeros((len(names), 1))
    large_first = sorted(range(len(names)), key=lambda i: (-shares[i].sum(), digest(seed, names[i])))
    blocks = [large_first[start : start + folds] for start in range(0, len(names), folds)]
    order = [i for block in blocks for i in sorted(block, key=lambda i: digest(seed, names[i]))]
    return [names[i] for i in order], shares[order]


def _plus(filled: Any, fold: int, share: Any) -> Any:
    after = filled.copy()
    after[fold] += share
    return after


def _split_in(rows: pa.Table, names: Sequence[str]) -> pa.Table:
    import pyarrow as pa

    return rows.set_column(rows.schema.get_field_index("split"), "split", pa.array(list(names), pa.string()))


def warnings_of(line: Line, kind: Kind, rows: pa.Table, splits: Mapping[str, Split]) -> list[str]:
    """Classes that a split of these rows cannot learn, or cannot test."""
    there: dict[Split, Counter[str]] = {"train": Counter(), "test": Counter()}
    for group, counted in sizes(rows, kind).items():
        there[splits[group]].update(counted)
    lacking: Sequence[tuple[Split, str]] = (("train", "learn"), ("test", "test"))
    return [
        f"no label of class {name} to {verb} on"
        for split, verb in lacking
        for name in line.classes
        if not there[split][f"label {name}"]
    ]
