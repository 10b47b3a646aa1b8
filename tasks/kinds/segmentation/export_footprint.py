"""A subprocess that does nothing but use a model: `python -m tasks.kinds.segmentation.export_footprint <job.json>`.

What it is asked: `export_process.UseJob`; what it answers: `tasks.training.model_timing`.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from tasks.kinds.segmentation.export_process import UseJob
from tasks.training.model_timing import memory_mb
from tasks.training.worker import Reporter, die_with

WARM_UP_IMAGES = 2


def main(job_file: Path) -> None:
    """Run one job."""
    job = UseJob.model_validate_json(job_file.read_text())
    die_with(job.parent_pid)
    report = Reporter()
    import onnxruntime  # type: ignore[import-untyped]  # noqa: F401  (a library like the others)
    import torchvision  # noqa: F401

    from tasks.kind.images import read_image
    from tasks.kinds.segmentation.predictor import LoadedSegmenter

    libraries = memory_mb("VmRSS")
    weights = job.files.get("weights.pt") or job.files
    predictor = LoadedSegmenter(weights, classes=job.classes, device="cpu")
    originals = job.originals or (None,) * len(job.images)
    pictures = [
        read_image(image) if original is None else predictor.read_original(original)
        for image, original in zip(job.images, originals, strict=True)
    ]
    for picture in pictures[:1] * WARM_UP_IMAGES:
        predictor.predict([picture])
    report("ready", libraries_rss_mb=libraries)
    for _ in sys.stdin:
        spent = []
        for picture in pictures:
            began = time.perf_counter()
            predictor.predict([picture])
            spent.append((time.perf_counter() - began) * 1e3)
        report("round", latency_ms=spent)
    report("finished", peak_rss_mb=memory_mb("VmHWM"), libraries_rss_mb=libraries)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
