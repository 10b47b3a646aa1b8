"""What a script can set. What is None is as the recipe has it."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from tasks.config import RecipeChoice
from tasks.errors import ConfigError
from tasks.escaping import short_repr
from tasks.kind import Recipe
from tasks.kinds.segmentation.allowed import spelt_out
from tasks.kinds.segmentation.python.checking import MOST_SEED, contradictions, wrong_types

Strategy = Literal["k_fold", "train_val_split", "full_dataset"]
VAL_FRACTION = 0.2
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,100}")

COMPLEX = {"degrees": 45.0, "blur": 0.3, "noise": 0.05, "invert": 0.1}
"""What `complex_augmentation` adds to the recipe's augmentation."""


@dataclass
class Stage1Config:
    """The finder's training: see `Stage1Plan` for the meaning of each."""

    stage1_type: Literal["cellfinder", "image_encoder", "all_backbones"] | None = None
    total_epochs: int | None = None
    learning_rate: float | None = None
    patience: int | None = None
    ce_loss_weight: float | None = None
    bbox_loss_weight: float | None = None
    giou_loss_weight: float | None = None

    def changes(self) -> dict[str, Any]:
        """What it changes of a recipe's `stage1`."""
        return _given(
            type=self.stage1_type, total_epochs=self.total_epochs, learning_rate=self.learning_rate,
            patience=self.patience, ce_weight=self.ce_loss_weight, l1_weight=self.bbox_loss_weight,
            giou_weight=self.giou_loss_weight,
        )  # fmt: skip


@dataclass
class Stage2Config:
    """The mask decoder's training: see `Stage2Plan` for the meaning of each."""

    total_epochs: int | None = None
    learning_rate: float | None = None
    patience: int | None = None
    focal_loss_weight: float | None = None
    focal_gamma: float | None = None
    dice_loss_weight: float | None = None
    boundary_loss_weight: float | None = None
    online_hard_negative_mining: bool = False
    online_hard_negative_mining_weighted: bool = False

    def changes(self) -> dict[str, Any]:
        """What it changes of a recipe's `stage2`."""
        mining = "weighted" if self.online_hard_negative_mining_weighted else "plain"
        mined = self.online_hard_negative_mining or self.online_hard_negative_mining_weighted
        return _given(
            total_epochs=self.total_epochs, learning_rate=self.learning_rate, patience=self.patience,
            focal_weight=self.focal_loss_weight, focal_gamma=self.focal_gamma, dice_weight=self.dice_loss_weight,
            boundary_weight=self.boundary_loss_weight, hard_mining=mining if mined else None,
        )  # fmt: skip


@dataclass
class ExperimentConfig:
    """One experiment: what it learns from, how, and where its results go.

    Attributes:
        img_path: Folder of pictures: tif, png, jpg, bmp, npy; 16 bit and several channels, too.
        mask_path: Folder of label images of the same stems, or with `_mask`, `_masks`, `_label`, `_labels` behind; may
            be the same folder. 0 is the ground, every other number a cell.
        output_name: Folder of the results, below `output_dir`.
        strategy: 'k_fold' tests every picture once, by a model that never saw its group; 'train_val_split' sets some
            groups aside; 'full_dataset' learns from all, and measures nothing.
        k_folds: Of 'k_fold'.
        stage1_config, stage2_config: Of the two stages.
        batch_size: Crops in a step.
        augmentation: Whether crops are varied.
        complex_augmentation: Vary them more: see `COMPLEX`.
        stain_transform: Of stained sections in bright field: 'macenko' (what True means), 'reinhard', 'none' (False).
        gamma: Power of the normalised brightness.
        preeval: Measure on the validation pictures before training.
        debug: Record memory, parts of the loss, and pictures of every stage.
        multiple_datasets, additional_datasets: More folders, as `[{"img_path": ..., "mask_path": ...}]`.
        output_dir: Where the folder of results stands.
        recipe: Which of the shipped recipes all else is a change of.
        recipe_changes: Further values of the recipe, nested as in its YAML: `{"imgsz": 256, "stage2": {"jitter": 0}}`.
        group_by: Which pictures belong together (a slide, a patient): a pattern whose first group names it, looked for
            in the picture's path below its folder; or 'folder'. None: each picture is a group of its own.
        class_name: What the cells are called.
        channels: Names of the channels -> their places, of pictures with several.
        val_fraction: Share of the groups that is set aside to stop early and to choose an epoch by. None: 0.2 for
            'train_val_split', and where a stage has a `patience` or `preeval` is on; else 0.
        seed: Of everything random.
    """

    img_path: str | Path
    mask_path: str | Path
    output_name: str
    strategy: Strategy = "k_fold"
    k_folds: int = 5
    stage1_config: Stage1Config = field(default_factory=Stage1Config)
    stage2_config: Stage2Config = field(default_factory=Stage2Config)
    batch_size: int | None = None
    augmentation: bool | None = None
    complex_augmentation: bool = False
    stain_transform: bool | str | None = None
    gamma: float | None = None
    preeval: bool = False
    debug: bool = False
    multiple_datasets: bool = False
    additional_datasets: list[dict[str, str | Path]] = field(default_factory=list)
    output_dir: str | Path = "output"
    recipe: str = "two-stage"
    recipe_changes: dict[str, Any] = field(default_factory=dict)
    group_by: str | None = None
    class_name: str = "cell"
    channels: dict[str, int] = field(default_factory=dict)
    val_fraction: float | None = None
    seed: int = 0

    @property
    def folder(self) -> Path:
        """Where the results go."""
        return Path(self.output_dir) / self.output_name

    @property
    def sources(self) -> list[tuple[Path, Path]]:
        """Folders of pictures and of masks."""
        more = self.additional_datasets if self.multiple_datasets else []
        pairs = [(self.img_path, self.mask_path), *((each["img_path"], each["mask_path"]) for each in more)]
        return [(Path(pictures), Path(masks)) for pictures, masks in pairs]

    @property
    def set_aside(self) -> float:
        """The share of the groups that becomes the validation split."""
        if self.val_fraction is not None:
            return self.val_fraction
        asks = self.strategy == "k_fold" and self.measured_while_training
        return VAL_FRACTION if asks or self.strategy == "train_val_split" else 0.0

    @property
    def measured_while_training(self) -> list[str]:
        """What is asked for that needs pictures to be measured on while training, wherever it was said."""
        asked = spelt_out(self.changes())
        stages = [own for stage in ("stage1", "stage2") if isinstance(own := asked.get(stage), dict)]
        wanted = {"patience": any(own.get("patience") for own in [asked, *stages]), "preeval": asked.get("preeval")}
        return [name for name, value in wanted.items() if value]

    def changes(self) -> dict[str, Any]:
        """What it changes of its recipe."""
        stain = ("macenko" if self.stain_transform else "none") if isinstance(self.stain_transform, bool) else None
        varied: dict[str, Any] = {"on": self.augmentation} if self.augmentation is not None else {}
        varied |= {"on": True, **COMPLEX} if self.complex_augmentation else {}
        own = _given(
            stage1=self.stage1_config.changes(), stage2=self.stage2_config.changes(), batch_size=self.batch_size,
            gamma=self.gamma, stain_transform=stain or self.stain_transform or None, augmentation=varied,
            preeval=self.preeval or None, debug=self.debug or None,
        )  # fmt: skip
        return merged(own, self.recipe_changes)

    def checked_recipe(self) -> Recipe:
        """The recipe with all changes.

        Raises:
            ConfigError: Naming every value that is wrong, of the experiment and of the recipe.
        """
        from tasks.kinds.segmentation.recipe import load_recipe

        if wrong := wrong_types(self):
            raise ConfigError(f"experiment {short_repr(self.output_name)}: {'; '.join(wrong)}")
        faults = contradictions(self)
        changes = {name: value for name, value in self.changes().items() if name not in ("name", "seed")}
        try:
            # A seed that cannot be is a fault already; the recipe is to name those of its own.
            recipe = load_recipe(RecipeChoice(name=self.recipe, seed=self.seed & MOST_SEED, **changes))
        except ConfigError as error:
            faults.append(str(error))
        if faults:
            raise ConfigError(f"experiment {self.output_name!r}: {'; '.join(faults)}")
        return recipe

    def to_dict(self) -> dict[str, Any]:
        """All of it, as JSON values."""
        paths = {name: str(getattr(self, name)) for name in ("img_path", "mask_path", "output_dir")}
        return asdict(self) | paths


def merged(first: dict[str, Any], second: dict[str, Any]) -> dict[str, Any]:
    """Nested values, the second's over the first's."""
    out = dict(first)
    for key, value in second.items():
        both = isinstance(value, dict) and isinstance(out.get(key), dict)
        out[key] = merged(out[key], value) if both else value
    return out


def _given(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None and value != {}}
