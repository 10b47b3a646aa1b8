"""Which training pictures ultralytics' loader shows, and in which order. Imported by workers only."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch.utils.data import RandomSampler, Sampler

from tasks.errors import ConfigError
from tasks.training.determinism import epoch_seed
from tasks.training.imbalance import Floats, Mixture, balanced_weights, effective_weights, named_weights, rare_classes
from tasks.training.ultralytics_knobs import ALL, BALANCED, EFFECTIVE, RARE, Knobs


class EpochOrder(Sampler[int]):  # type: ignore[misc]
    """Shuffles `images` anew each time around, by (seed, epoch) alone. It counts epochs itself: loaders read ahead.

    With a mixture it shows other pictures than each one once, and as many.
    """

    def __init__(self, images: int, seed: int, epoch: int, mixture: Mixture | None = None) -> None:
        self.images, self.seed, self.epoch, self.mixture = images, seed, epoch, mixture

    def __len__(self) -> int:
        return self.images

    def __iter__(self) -> Iterator[int]:
        seed = epoch_seed(self.seed, self.epoch)
        self.epoch += 1
        if self.mixture:
            yield from self.mixture.epoch(seed)
            return
        generator = torch.Generator()
        generator.manual_seed(seed)
        yield from torch.randperm(self.images, generator=generator).tolist()


def order_epochs(loader: Any, seed: int, epoch: int, knobs: Knobs) -> None:
    """Have a loader of training pictures show each epoch what follows from (seed, epoch) and the knobs.

    Args:
        loader: Of ultralytics.
        seed: Of the training.
        epoch: The first that it will show, counted through all stages.
        knobs: How pictures are mixed.

    Raises:
        ConfigError: Pictures are to be mixed, and several processes train together or batches are sorted by shape.
    """
    batches = loader.batch_sampler.sampler
    if isinstance(batches.sampler, RandomSampler):
        mixture = _mixture(loader, batches.batch_size, knobs) if knobs.mixes else None
        batches.sampler = EpochOrder(len(loader.dataset), seed, epoch, mixture)
    elif knobs.mixes:
        raise ConfigError(
            "repeat_threshold, balanced_batches: pictures cannot be chosen here",
            expected="a training in one process, of batches that are shuffled",
            found=type(batches.sampler).__name__,
            fix="train on one device, with rect: false where frames are of several shapes",
        )


def _mixture(loader: Any, batch: int, knobs: Knobs) -> Mixture:
    classes_of = [label["cls"].astype(int).ravel().tolist() for label in loader.dataset.labels]
    return Mixture(classes_of, knobs.repeat_threshold, batch if knobs.balanced_batches else 0)


def class_counts(dataset: Any, classes: int) -> Floats:
    """How many objects of each class a dataset of ultralytics has; float64 [classes]."""
    labels = [label["cls"].astype(int).ravel() for label in dataset.labels]
    return np.bincount(np.concatenate([np.zeros(0, int), *labels]), minlength=classes).astype(np.float64)


def class_weights(knobs: Knobs, counts: Floats, names: list[str]) -> Floats:
    """How much each class weighs in the classes' loss, as the knobs say."""
    if isinstance(knobs.class_weights, dict):
        return named_weights(knobs.class_weights, names)
    if knobs.class_weights == EFFECTIVE:
        return effective_weights(counts, knobs.class_beta)
    return balanced_weights(counts) if knobs.class_weights == BALANCED else named_weights({}, names)


def pasted_classes(knobs: Knobs, dataset: Any, names: Mapping[int, str]) -> frozenset[int] | None:
    """The classes whose objects copy-paste pastes, by number; None: all."""
    if knobs.copy_paste_classes == ALL:
        return None
    if knobs.copy_paste_classes == RARE:
        return rare_classes(class_counts(dataset, len(names)))
    return frozenset(index for index, name in names.items() if name in knobs.copy_paste_classes)
