"""The denoiser that a finished detector carries in its own file of weights, and puts every picture through.

A .pt has it under the name `denoiser`, a safetensors file as a tensor of that name: in both the bytes of the denoiser's
own file, uint8 [n], whose sha256 is still that of the denoiser. What carries one cannot be used without it.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from tasks.errors import ConfigError, DataError, IntegrityError
from tasks.kind import Image, Job
from tasks.kinds.detection.anchored.files import is_anchored
from tasks.kinds.detection.ensembles import is_ensemble, unpack
from tasks.lake.blobs import hash_file
from tasks.schemas import Oid

if TYPE_CHECKING:
    from tasks.denoising.denoise import Denoiser

CARRIED = "denoiser"


def carrying(denoiser: Path | None) -> dict[str, Any]:
    """What is put into a file of weights beside the network: nothing where there is no denoiser."""
    if denoiser is None:
        return {}
    import torch

    return {CARRIED: torch.frombuffer(bytearray(denoiser.read_bytes()), dtype=torch.uint8)}


def carried(weights: Path) -> bytes | None:
    """The denoiser's file in a file of weights, verified by who calls; None: it carries none.

    Raises:
        DataError: The weights cannot be loaded, or carry what is no file.
    """
    if is_anchored(weights):
        from tasks.training.tensors import read_tensors

        return file_in(read_tensors(weights))
    if is_ensemble(weights):  # all members learned from the same frames
        with tempfile.TemporaryDirectory(prefix="nightscope-members-") as folder:
            return carried(unpack(weights, Path(folder))[0])
    from tasks.training.ultralytics_loading import load_checkpoint

    return file_in(load_checkpoint(weights))


def file_in(held: dict[str, Any]) -> bytes | None:
    """The denoiser's file among what a file of weights holds, by name.

    Raises:
        DataError: What is called so is no file.
    """
    tensor = held.get(CARRIED)
    if tensor is None:
        return None
    import torch

    if not torch.is_tensor(tensor) or tensor.dtype != torch.uint8 or tensor.dim() != 1:
        raise DataError("the denoiser that weights carry", expected="a file's bytes", found=type(tensor).__name__)
    data: bytes = tensor.numpy().tobytes()
    return data


def oid_of(data: bytes | None) -> Oid | None:
    """The sha256 that a carried denoiser is known by."""
    return hashlib.sha256(data).hexdigest() if data else None


def loaded(data: bytes | None) -> Denoiser | None:
    """A carried denoiser, ready to use.

    Raises:
        DataError: It is none.
    """
    if data is None:
        return None
    from tasks.denoising.denoise import Denoiser

    return Denoiser.of(data, f"denoiser {str(oid_of(data))[:12]}")


def seen(denoiser: Denoiser | None, images: Sequence[Image]) -> Sequence[Image]:
    """Pictures as the detector behind the denoiser sees them."""
    return images if denoiser is None else [denoiser.denoise(image) for image in images]


def recorded(job: Job) -> dict[str, str]:
    """What stands in the training's record."""
    return {"denoiser_oid": hash_file(job.denoiser)} if job.denoiser else {}


def check_job(job: Job) -> None:
    """See that a training reads frames as the finished detector will see them, and that its teacher does, too.

    Raises:
        IntegrityError: The layout's frames went through another denoiser than the detector would carry, or none.
        ConfigError: The teacher carries another.
    """
    ours = hash_file(job.denoiser) if job.denoiser else None
    theirs = yaml.safe_load(job.data.read_text()).get(CARRIED)
    asked = job.options.get("arguments", {}).get(CARRIED)
    if ours != theirs or bool(asked) != bool(ours):
        raise IntegrityError(
            f"{job.data}: frames of another denoiser than the recipe's", expected=str(ours or asked or "none"),
            found=str(theirs or "none"), fix="lay the dataset out for this recipe, as the step does",
        )  # fmt: skip
    if job.teacher is not None and (taught := oid_of(carried(job.teacher))) != ours:
        raise ConfigError(
            "teacher: learned from frames of another denoiser than the student's",
            expected=f"the denoiser {ours}" if ours else "a teacher without a denoiser", found=taught or "none",
            fix="train the teacher with the same `denoiser`, or choose the student's by it",
        )  # fmt: skip


def refuse_export(weights: Path, fmt: str) -> None:
    """Refuse to export a detector that carries a denoiser: other runtimes would look at frames as they are.

    Raises:
        ConfigError: It carries one.
    """
    if oid := oid_of(carried(weights)):
        raise ConfigError(
            f"export to {fmt}: the model sees frames through the denoiser {oid[:12]}, which an export cannot carry",
            expected="a model without a denoiser", found=f"denoiser {oid}",
            fix="serve it with `nightscope serve` or MLflow, which put frames through it; or train without `denoiser`",
        )  # fmt: skip
