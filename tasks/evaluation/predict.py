"""Running a model over frames, one image at a time, on the clock."""

from __future__ import annotations

import logging
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np

from tasks.evaluation.evaluation import Latency
from tasks.evaluation.memory import PeakMemory
from tasks.kind import Kind, ModelRef, Predictor, Row
from tasks.kind.images import read_image
from tasks.lake import Lake, Manifest

log = logging.getLogger(__name__)

WARM_UP_IMAGES = 3
_SAY_EVERY_S = 20.0


LoadPredictor = Callable[[ModelRef, str | None], Predictor]
"""Load a model on a device; None = the best one there is."""


@dataclass(frozen=True)
class Pictures:
    """Images of manifest rows, in their order.

    Attributes:
        paths: What annotators see.
        originals: The pictures as they were taken, of a kind whose models are shown these where they hold more; None:
            they do not. Empty: the kind's models are shown what annotators see.
    """

    paths: tuple[Path, ...]
    originals: tuple[Path | None, ...] = ()


def pictures_of(lake: Lake, kind: Kind, manifest: Manifest, rows: Sequence[Row]) -> Pictures:
    """Fetch the images of some rows of a dataset version.

    Raises:
        NotFound: The lake has lost one.
    """
    frames = [row["frame_oid"] for row in rows]
    originals = kind.originals(lake, manifest, rows)
    paths = lake.blobs.fetch_many({*frames, *(oid for oid in originals if oid)})
    return Pictures(tuple(paths[oid] for oid in frames), tuple(paths[oid] if oid else None for oid in originals))


def predict(
    predictor: Predictor, paths: Sequence[Path], what: str, originals: Sequence[Path | None] = ()
) -> tuple[list[Any], Latency]:
    """Predict every image, one at a time, timing each.

    Args:
        predictor: The model; it is warmed up on the first image, untimed.
        paths: Image files, read and decoded off the clock.
        what: Who is at work, for the log.
        originals: For each image the picture as it was taken, which the model is then shown instead; see `Pictures`.

    Returns:
        The outputs in order, how long an image took, and the memory that it took at most.

    Raises:
        IntegrityError: A file is no image.
    """
    outputs, spent, memory = [], [], PeakMemory(predictor.device)
    said = time.monotonic()
    for number, path in enumerate(paths):
        original = originals[number] if originals else None
        image: Any = read_image(path) if original is None else cast("Any", predictor).read_original(original)
        if number == 0:
            for _ in range(WARM_UP_IMAGES):
                predictor.predict([image])
        start = time.perf_counter()
        outputs.append(predictor.predict([image])[0])
        spent.append((time.perf_counter() - start) * 1e3)
        if time.monotonic() - said > _SAY_EVERY_S:
            said = time.monotonic()
            log.info("%s: %d of %d test images", what, number + 1, len(paths))
    latency = Latency(
        device=predictor.device,
        hardware=hardware(predictor.device),
        images=len(spent),
        latency_ms_p50=round(float(np.percentile(spent, 50)), 3),
        latency_ms_p95=round(float(np.percentile(spent, 95)), 3),
        fps=round(1e3 * len(spent) / sum(spent), 2),
        peak_memory_mib=memory.mib(),
    )
    log.info("%s: %d test images on %s, median %.1f ms", what, len(spent), latency.device, latency.latency_ms_p50)
    return outputs, latency


def hardware(device: str) -> str:
    """What the device is made of, e.g. 'AMD EPYC 7763' or 'NVIDIA H200'."""
    if device.startswith("cuda"):
        import torch

        return str(torch.cuda.get_device_name(device))
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
