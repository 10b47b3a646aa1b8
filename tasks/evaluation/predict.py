"""Running a model over frames, one image at a time, on the clock."""

from __future__ import annotations

import logging
import platform
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tasks.evaluation.evaluation import Latency
from tasks.kind import ModelRef, Predictor
from tasks.kind.images import read_image

log = logging.getLogger(__name__)

WARM_UP_IMAGES = 3
_SAY_EVERY_S = 20.0


LoadPredictor = Callable[[ModelRef, str | None], Predictor]
"""Load a model on a device; None = the best one there is."""


def predict(predictor: Predictor, paths: Sequence[Path], what: str) -> tuple[list[Any], Latency]:
    """Predict every image, one at a time, timing each.

    Args:
        predictor: The model; it is warmed up on the first image, untimed.
        paths: Image files, read and decoded off the clock.
        what: Who is at work, for the log.

    Returns:
        The outputs in order, and how long an image took.

    Raises:
        IntegrityError: A file is no image.
    """
    outputs, spent = [], []
    said = time.monotonic()
    for number, path in enumerate(paths):
        image = read_image(path)
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
