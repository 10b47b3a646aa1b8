"""Are two files of weights the same? And if not, where do they begin to differ."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from tasks.kinds.detection.anchored.files import is_anchored
from tasks.kinds.detection.denoised import CARRIED
from tasks.kinds.detection.ensembles import is_ensemble, unpack
from tasks.schemas import Oid
from tasks.training.tensors import read_tensors
from tasks.training.weights import WeightsComparison, compare_tensors


def compare_weights(ours: Path, theirs: Path, oids: tuple[Oid, Oid]) -> WeightsComparison:
    """Compare two files of weights that trainings of ours wrote, tensor by tensor.

    Args:
        ours, theirs: Local copies, verified.
        oids: Their hashes.

    Raises:
        DataError: One of them cannot be loaded, or holds what is no part of a model.
    """
    return compare_tensors(_tensors(ours), _tensors(theirs), oids)


def _tensors(path: Path) -> dict[str, Any]:
    if is_anchored(path):
        return read_tensors(path)
    if is_ensemble(path):
        with tempfile.TemporaryDirectory(prefix="nightscope-members-") as folder:
            members = [_tensors(each) for each in unpack(path, Path(folder))]
        return {f"member {n}: {name}": value for n, own in enumerate(members, 1) for name, value in own.items()}
    from tasks.training.ultralytics_loading import load_checkpoint

    held = load_checkpoint(path)
    return {**held["model"].state_dict(), **{name: held[name] for name in (CARRIED,) if name in held}}
