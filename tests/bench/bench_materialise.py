"""What freezing and materialising a dataset costs: the first time, again, and with 1 % new frames. A script, no test.

    python -m tests.bench.bench_materialise [--frames 10000]

Everything is real: rclone's S3 server, the tables, validation, the YOLO layout. Read the ratios, not the seconds.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np
from rich.console import Console
from rich.table import Table

from tasks.config import Line, Settings
from tasks.datasets.freeze import freeze
from tasks.kinds import kind_of
from tasks.kinds.detection.layout import materialise
from tasks.lake import Lake, open_lake
from tasks.schemas import Annotation, Frame, Recording
from tasks.validation.dataset import check_dataset
from tasks.validation.validate import Validation, validate
from tests.s3_servers import rclone
from tests.validation.factory import a_box, a_line, a_recording, an_annotation, fill

DETECTION = kind_of("detection")

T = TypeVar("T")
RECORDINGS = 20


def frames_of(lake: Lake, recording: Recording, indices: range) -> list[Frame]:
    """Tiny JPEG frames of noise, each its own picture."""
    rng = np.random.default_rng([int(recording.recording_id[:8], 16), indices.start])
    noise = [rng.integers(0, 255, (48, 64), dtype=np.uint8) for _ in indices]
    images = [bytes(cv2.imencode(".jpg", picture)[1]) for picture in noise]
    return [
        Frame(
            line="cells",
            recording_id=recording.recording_id,
            frame_index=index,
            oid=oid,
            media_type="image/jpeg",
            pts_s=index / 25,
            width_px=64,
            height_px=48,
            phash=oid[:16],
            reason="sampled",
            taken_at=recording.ingested_at,
        )
        for index, oid in zip(indices, lake.blobs.put_many(images, "image/jpeg"), strict=True)
    ]


def label(frame: Frame, number: int) -> Annotation:
    """Twenty boxes on a frame, no two frames alike."""
    shift = int(frame.oid[:4], 16) / 65536
    boxes = [a_box(x=2 + 11 * (n % 5) + shift, y=2 + 11 * (n // 5), width=7, height=7) for n in range(20)]
    return an_annotation(frame, boxes, number=number)


def timed(work: Callable[[], T]) -> tuple[T, float]:
    """A result, and the seconds it took."""
    start = time.monotonic()
    return work(), time.monotonic() - start


def frozen(lake: Lake, line: Line, validation: Validation) -> str:
    """Freeze as the step does."""
    about = {"result_oid": validation.result_oid, "report_oid": validation.report_oid}
    return freeze(lake, line, validation.accepted, validation=about, check=check_dataset, kind=DETECTION)


def measure(lake: Lake, frames: int) -> list[tuple[str, float, float, float]]:
    """Rows of (what, validate s, freeze s, materialise s)."""
    line = a_line()
    each, more = frames // RECORDINGS, max(1, frames // 100 // RECORDINGS)
    recordings = [a_recording(f"r{n}", n, frames_announced=10**6, frames_decoded=10**6) for n in range(RECORDINGS)]
    first = [frame for recording in recordings for frame in frames_of(lake, recording, range(each))]
    fill(lake, recordings, first, [label(frame, n) for n, frame in enumerate(first)])
    rows = []

    def night(name: str) -> None:
        validation, seconds = timed(lambda: validate(lake, line, DETECTION))
        version, freezing = timed(lambda: frozen(lake, line, validation))
        _, laying = timed(lambda: materialise(lake, line, version))
        rows.append((name, seconds, freezing, laying))

    night("build all")
    night("again, nothing new")
    new = [f for recording in recordings for f in frames_of(lake, recording, range(each, each + more))]
    fill(lake, [], new, [label(frame, frames + n) for n, frame in enumerate(new)])
    night(f"with {len(new)} new frames")
    return rows


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=10_000)
    frames = parser.parse_args().frames
    folder = Path(tempfile.mkdtemp(prefix="bench-materialise-"))
    try:
        with rclone(folder / "served") as server:
            settings = Settings(state_dir=folder / "state", s3=server.settings)
            lake = open_lake(settings)
            lake.landing.ensure_bucket()
            lake.store.ensure_bucket()
            rows = measure(lake, frames)
    finally:
        shutil.rmtree(folder)
    table = Table(title=f"{frames} frames of 20 boxes")
    for title in ("", "validate s", "freeze s", "materialise s", "materialise, of all", "freeze + materialise, of all"):
        table.add_column(title, justify="left" if not title else "right")
    _, _, freezing, laying = rows[0]
    for name, validating, own_freezing, own_laying in rows:
        table.add_row(
            name, f"{validating:.2f}", f"{own_freezing:.2f}", f"{own_laying:.3f}", f"{own_laying / laying:.1%}",
            f"{(own_freezing + own_laying) / (freezing + laying):.1%}",
        )  # fmt: skip
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
