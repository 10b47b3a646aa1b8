"""`finetune`: an experiment in one call, as older scripts make it."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from tasks.errors import ConfigError
from tasks.kinds.segmentation.python.config import ExperimentConfig, Stage1Config, Stage2Config, Strategy
from tasks.kinds.segmentation.python.runner import ExperimentRunner, Result

_STAGE1 = {
    "stage1": "stage1_type", "total_epochs_s1": "total_epochs", "lr_stage1": "learning_rate", "patience_s1": "patience",
    "ce_loss_weight": "ce_loss_weight", "bbox_loss_weight": "bbox_loss_weight", "giou_loss_weight": "giou_loss_weight",
}  # fmt: skip
_STAGE2 = {
    "total_epochs_s2": "total_epochs", "lr_stage2": "learning_rate", "patience_s2": "patience",
    **{name: name for name in (
        "focal_loss_weight", "focal_gamma", "dice_loss_weight", "boundary_loss_weight", "online_hard_negative_mining",
        "online_hard_negative_mining_weighted",
    )},
}  # fmt: skip
_FLAGS: dict[str, Strategy] = {
    "use_full_dataset": "full_dataset", "train_val_training": "train_val_split", "k_fold_training": "k_fold",
}  # fmt: skip
"""The first that is true decides; none: k folds."""
_GONE = {
    **dict.fromkeys(
        ("eosin", "dab", "only_nuclei", "rgb_transform"),
        "there is no such stain transform; say stain_transform='macenko' or 'reinhard'",
    ),
    "inversion": "say recipe_changes={'augmentation': {'invert': 0.5}}, which inverts every second crop",
    **dict.fromkeys(("normalize", "normalize_inf"), "pictures are always normalised, alike in training and in use"),
    "test": "say a strategy",
}


def finetune(
    img_path: str | Path,
    mask_path: str | Path,
    output_name: str,
    total_epochs_s1: int | None = None,
    total_epochs_s2: int | None = None,
    k_fold_training: bool = False,
    **more: Any,
) -> list[Result]:
    """Train on folders of pictures and label images, and measure what came out.

    Args:
        img_path, mask_path, output_name: As of `ExperimentConfig`.
        total_epochs_s1, total_epochs_s2: Of the two stages; None: as the recipe has it.
        k_fold_training: K folds, which is also what happens where no strategy is named.
        more: `use_full_dataset` or `train_val_training` instead; `stage1`, `lr_stage1`, `lr_stage2`, `patience_s1`,
            `patience_s2` and the weights of the losses, as of `Stage1Config` and `Stage2Config`; and every field of
            `ExperimentConfig`.

    Returns:
        As `ExperimentRunner.run`.

    Raises:
        ConfigError: Naming every argument that is not known, and every value that is wrong.
    """
    given = more | {"total_epochs_s1": total_epochs_s1, "total_epochs_s2": total_epochs_s2}
    own = {each.name for each in fields(ExperimentConfig)}
    unknown = sorted(more.keys() - own - _STAGE1.keys() - _STAGE2.keys() - _FLAGS.keys())
    if unknown:
        known = sorted(own | _STAGE1.keys() | _STAGE2.keys() | _FLAGS.keys())
        told = "; ".join(f"{name}: {_GONE.get(name, 'no such argument')}" for name in unknown)
        raise ConfigError(f"finetune: {told}", expected=f"some of: {', '.join(known)}")
    asked = {"k_fold_training": k_fold_training} | {name: more.get(name, False) for name in _FLAGS if name in more}
    strategy = next((strategy for name, strategy in _FLAGS.items() if asked.get(name)), "k_fold")
    config = ExperimentConfig(
        img_path, mask_path, output_name,
        **{"strategy": strategy} | {name: value for name, value in more.items() if name in own},
    )  # fmt: skip
    first, second = (
        {names[name]: value for name, value in given.items() if name in names and value is not None}
        for names in (_STAGE1, _STAGE2)
    )
    if isinstance(config.stage1_config, Stage1Config):  # else the runner says so
        config.stage1_config = replace(config.stage1_config, **first)
    if isinstance(config.stage2_config, Stage2Config):
        config.stage2_config = replace(config.stage2_config, **second)
    return ExperimentRunner(config).run()
