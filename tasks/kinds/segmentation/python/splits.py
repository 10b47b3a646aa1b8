"""Which picture a fold learns from. Pictures of one group never stand on two sides."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

from tasks.datasets.folds import assign
from tasks.errors import DataError, InsufficientData
from tasks.kinds.segmentation.dataset import LabelledPicture
from tasks.kinds.segmentation.python.config import ExperimentConfig
from tasks.schemas import Split

Fold = list[Split]
"""The split of each picture."""


def folds_of(config: ExperimentConfig, pictures: Sequence[LabelledPicture], root: Path) -> list[Fold]:
    """The splits of each fold: k of 'k_fold', else one.

    Groups are spread as in a line's cross-validation: by their shares of pictures and of cells, by the seed.

    Raises:
        InsufficientData: There are fewer groups than are needed.
    """
    sizes = _sizes(pictures, root)
    try:
        return _folds(config, pictures, sizes)
    except InsufficientData as error:  # in the words of a line
        folds = f"{config.k_folds} folds" if config.strategy == "k_fold" else "two parts"
        aside = ", each with groups to learn from and to measure on while training" if config.set_aside else ""
        raise InsufficientData(
            f"{config.strategy}: cannot make {folds} of {len(sizes)} groups of pictures",
            expected=f"at least one group for each{aside}: pictures of one group never stand on both sides",
            found=", ".join(sorted(sizes)[:5]), fix="take fewer folds, say full_dataset, or bring more pictures",
        ) from error  # fmt: skip


def _folds(
    config: ExperimentConfig, pictures: Sequence[LabelledPicture], sizes: dict[str, dict[str, int]]
) -> list[Fold]:
    if config.strategy == "full_dataset":
        return [["train"] * len(pictures)]
    if config.strategy == "train_val_split":
        aside = _set_aside(config, sizes)
        return [["val" if picture.group in aside else "train" for picture in pictures]]
    fold_of = assign(sizes, config.k_folds, config.seed)
    folds: list[Fold] = []
    for fold in range(1, config.k_folds + 1):
        learned = {group: counted for group, counted in sizes.items() if fold_of[group] != fold}
        aside = _set_aside(config, learned) if config.set_aside else set()
        folds.append([_split(picture.group, fold_of, fold, aside) for picture in pictures])
    return folds


def check_cells(folds: Sequence[Fold], pictures: Sequence[LabelledPicture], root: Path) -> None:
    """Refuse an experiment of which a training would have nothing to learn, before the first of them begins.

    Raises:
        DataError: Naming each such fold.
    """
    cells = [len(json.loads((root / picture.cells).read_text())) for picture in pictures]
    lacking = [
        str(number) for number, fold in enumerate(folds, 1)
        if not any(count for count, split in zip(cells, fold, strict=True) if split == "train")
    ]  # fmt: skip
    if lacking:
        raise DataError(
            f"fold {', '.join(lacking)} of {len(folds)}: learns from pictures without any cell",
            expected="one outlined cell at least in what each training learns from",
            found=f"{sum(map(bool, cells))} of {len(cells)} pictures with cells",
            fix="label more pictures, or make fewer folds",
        )


def _split(group: str, fold_of: dict[str, int], fold: int, aside: set[str]) -> Split:
    if fold_of[group] == fold:
        return "test"
    return "val" if group in aside else "train"


def _set_aside(config: ExperimentConfig, sizes: dict[str, dict[str, int]]) -> set[str]:
    """About `val_fraction` of the groups: so many of equal parts, one at least and not all."""
    share = Fraction(config.set_aside).limit_denominator(100)
    parts = max(2, share.denominator)
    parts = min(parts, len(sizes)) if len(sizes) > 1 else parts
    taken = min(max(1, round(config.set_aside * parts)), parts - 1)
    return {group for group, part in assign(sizes, parts, config.seed).items() if part <= taken}


def _sizes(pictures: Sequence[LabelledPicture], root: Path) -> dict[str, dict[str, int]]:
    found: dict[str, Counter[str]] = defaultdict(Counter)
    for picture in pictures:
        cells = len(json.loads((root / picture.cells).read_text()))
        found[picture.group].update({"frames": 1, "label cell": cells})
    return {group: dict(counted) for group, counted in found.items()}
