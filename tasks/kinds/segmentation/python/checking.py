"""What contradicts itself in an experiment, or is not of the kind that it should be; before anything is read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from typing import TYPE_CHECKING, Any, get_type_hints

from pydantic import TypeAdapter, ValidationError

from tasks.config.channels import MOST
from tasks.escaping import short_repr

if TYPE_CHECKING:
    from tasks.kinds.segmentation.python.config import ExperimentConfig

STRATEGIES = ("k_fold", "train_val_split", "full_dataset")
_BY_THE_RECIPE = {"strategy", "batch_size", "augmentation", "stain_transform", "gamma", "preeval", "debug"}
"""Fields that are looked at elsewhere: the recipe names the values that it takes."""
_OF_STAGE2 = ("online_hard_negative_mining", "online_hard_negative_mining_weighted")
MOST_SEED = 2**31 - 1


def wrong_types(config: ExperimentConfig) -> list[str]:
    """Fields that hold something else than they should, a phrase each; whatever else is asked needs them right."""
    found = list(_wrong(config, {each.name for each in fields(config)} - _BY_THE_RECIPE))
    return found or list(_wrong(config.stage2_config, set(_OF_STAGE2)))


def _wrong(config: Any, names: set[str]) -> Iterator[str]:
    hints = get_type_hints(type(config))
    for each in fields(config):
        if each.name not in names:
            continue
        value = getattr(config, each.name)
        try:
            TypeAdapter(hints[each.name]).validate_python(value, strict=True)
        except ValidationError:
            yield f"{each.name}: expected {each.type}, found {short_repr(value)}"


def contradictions(config: ExperimentConfig) -> list[str]:
    """Values that cannot be, or not together, a phrase each; of fields whose types are right."""
    return [*_of_names(config), *_of_strategy(config), *_of_data(config), *_of_training(config)]


def _of_names(config: ExperimentConfig) -> Iterator[str]:
    from tasks.kinds.segmentation.python.config import NAME

    if not NAME.fullmatch(config.output_name):
        yield f"output_name: expected letters, digits, _ . -, found {config.output_name!r}"
    if not config.class_name.strip():
        yield "class_name: is empty"
    if not 0 <= config.seed <= MOST_SEED:
        yield f"seed: expected a whole number from 0 to {MOST_SEED}, found {config.seed}"
    for name, place in {"name": "recipe", "seed": "seed"}.items():
        if name in config.recipe_changes:
            yield f"recipe_changes: {name}: say {place}="


def _of_strategy(config: ExperimentConfig) -> Iterator[str]:
    if config.strategy not in STRATEGIES:
        yield f"strategy: expected one of {', '.join(STRATEGIES)}, found {config.strategy!r}"
    if config.strategy == "k_fold" and config.k_folds < 2:
        yield f"k_folds: expected 2 or more, found {config.k_folds}"
    if not 0 <= config.set_aside < 1:
        yield f"val_fraction: expected a number from 0 to below 1, found {config.set_aside}"
    if config.strategy == "train_val_split" and not config.set_aside:
        yield "val_fraction: train_val_split sets pictures aside, and 0 sets none; say full_dataset"
    if config.strategy == "full_dataset" and config.set_aside:
        yield "val_fraction: full_dataset learns from all pictures; say train_val_split, or leave it out"
    if config.strategy in ("full_dataset", "k_fold") and not config.set_aside:
        for name in config.measured_while_training:
            yield f"{name}: needs pictures that are set aside, and {config.strategy} sets none; leave it out"


def _of_data(config: ExperimentConfig) -> Iterator[str]:
    for name in ("img_path", "mask_path"):
        if getattr(config, name) == "":
            yield f"{name}: is empty"
    if config.additional_datasets and not config.multiple_datasets:
        yield "additional_datasets: are used with multiple_datasets=True alone"
    lacking = [each for each in config.additional_datasets if not {"img_path", "mask_path"} <= each.keys()]
    if lacking:
        yield f"additional_datasets: each wants an img_path and a mask_path, found {lacking[0]}"
    if len(config.channels) > MOST or any(place < 0 for place in config.channels.values()):
        yield f"channels: expected at most {MOST} names, each with a place from 0, found {config.channels}"


def _of_training(config: ExperimentConfig) -> Iterator[str]:
    if config.augmentation is False and config.complex_augmentation:
        yield "complex_augmentation: is more augmentation, and augmentation=False is none; say one of them"
