"""Architectures of ours that begin with a network whose ImageNet weights are installed: see `docs/offline-weights.md`.

Nothing heavy is imported before it is needed: a recipe is checked in the first second of a night.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from tasks.errors import DataError
from tasks.lake.blobs import hash_file
from tasks.training.installed import INSTALLED

_ROW = "ImageNetFeatures"


def backbone_of(architecture: Path | str | None) -> str | None:
    """The network that an architecture of ours begins with, by its name in `INSTALLED`; None: there is none.

    Args:
        architecture: As `recipe.find_architecture` gives it: ultralytics' own are named, ours are files.
    """
    if not isinstance(architecture, Path):
        return None
    _, _, module, arguments = yaml.safe_load(architecture.read_text())["backbone"][0]
    return str(arguments[0]) if module == _ROW else None


def is_backbone(weights: Path | None) -> bool:
    """Whether these are the weights of an installed backbone, to the bit, and not those of a whole detector."""
    return weights is not None and hash_file(weights) in {known.oid for known in INSTALLED.values()}


def start_from(network: Any, weights: Path) -> None:
    """Put a backbone's weights into the first layer of a detector.

    Ultralytics would take them for a checkpoint of its own, and loses what it loads into a network made from a YAML
    before it trains (ultralytics#8811, #17520): here they are put into the network that is trained.

    Args:
        network: A `DetectionModel`.
        weights: An installed file; it names its tensors otherwise, in the same order, and has coarser ones than the
            architecture may want.

    Raises:
        DataError: They are of another network.
    """
    from tasks.training.tensors import read_tensors

    backbone = network.model[0]
    ours, theirs = backbone.state_dict(), read_tensors(weights)
    renamed = dict(zip(ours, theirs.values(), strict=False))
    unlike = [name for name in ours if name not in renamed or renamed[name].shape != ours[name].shape]
    if type(backbone).__name__ != _ROW or unlike:
        raise DataError(
            f"weights {weights.name}: are not those of the backbone",
            expected=f"the {len(ours)} tensors of {type(backbone).__name__}, in their order",
            found=f"{len(theirs)} tensors, others from {unlike[0] if unlike else 'the first'} on",
            fix="name a model whose backbone they are of, e.g. lite0-p2-p4.yaml, or set weights to none",
        )
    backbone.load_state_dict(renamed)
