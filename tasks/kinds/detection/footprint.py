"""A subprocess that does nothing but use a model: `python -m tasks.kinds.detection.footprint <job.json>`.

It loads the model, warms up and says so; then it predicts all images once for every line it reads, and at the end of
its input says what memory it needed. See `export_process.UseJob`; answers are JSON, one a line:

    libraries_rss_mb                       loaded and warm
    latency_ms [...]                       one for each image, after each line read
    peak_rss_mb, libraries_rss_mb          at the end
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from tasks.kinds.detection.export_process import UseJob
from tasks.training.model_timing import memory_mb
from tasks.training.worker import Reporter, die_with

WARM_UP_IMAGES = 3


def main(job_file: Path) -> None:
    """Run one job."""
    job = UseJob.model_validate_json(job_file.read_text())
    die_with(job.parent_pid)
    report = Reporter()
    import cv2
    import numpy as np

    from tasks.kinds.detection.detector import Detector, Image
    from tasks.training import ultralytics_offline as offline

    offline.prepare(job.config_dir)
    import torchvision  # noqa: F401  (suppression of doubles uses it: a library like the others)
    from ultralytics import YOLO  # noqa: F401

    libraries = memory_mb("VmRSS")
    detector = Detector(
        job.files,
        classes=job.classes,
        imgsz=job.imgsz,
        predict=job.predict,
        device="cpu",
        config_dir=job.config_dir,
    )

    def image(path: Path) -> Image:
        return np.asarray(cv2.imdecode(np.fromfile(path, dtype=np.uint8), cv2.IMREAD_COLOR), dtype=np.uint8)

    for path in job.images[:1] * WARM_UP_IMAGES:
        detector.predict([image(path)])
    report("ready", libraries_rss_mb=libraries)
    for _ in sys.stdin:
        spent = []
        for path in job.images:
            decoded = image(path)
            began = time.perf_counter()
            detector.predict([decoded])
            spent.append((time.perf_counter() - began) * 1e3)
        report("round", latency_ms=spent)
    report("finished", peak_rss_mb=memory_mb("VmHWM"), libraries_rss_mb=libraries)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
