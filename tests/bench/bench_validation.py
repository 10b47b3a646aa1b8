"""What validating and freezing costs when 1 % of the frames are new, against the first time.

    python -m tests.bench.bench_validation [--frames 10000] [--boxes 20]

A lake on the real rclone, recordings of 500 frames, every frame with its boxes. The first time all is new; then 1 %
more frames come (of new recordings), and validation and freezing run again, as in the next night, each time in a
process of its own. Starting one (Great Expectations takes seconds to import) is a row of its own; frames are compared
by the leak audit, recordings are not: nothing of them is there to be seen. Shares are what to compare, not seconds.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import cv2
import numpy as np
from rich.console import Console
from rich.table import Table

from tasks.config import Settings
from tasks.lake import Lake, open_lake
from tasks.schemas import Frame
from tests.s3_servers import rclone
from tests.validation.factory import NOON, a_box, a_line, a_recording, an_annotation

PER_RECORDING = 500
NIGHT = """
import json, time
began = time.perf_counter()
import great_expectations
from tasks.config import load_settings
from tasks.datasets.freeze import freeze
from tasks.kinds import kind_of
from tasks.lake import open_lake
from tasks.validation.dataset import check_dataset
from tasks.validation.validate import validate
from tests.bench.bench_validation import LINE
lake, kind = open_lake(load_settings()), kind_of("detection")
started = time.perf_counter()
found = validate(lake, LINE, kind)
validated = time.perf_counter()
about = {"result_oid": found.result_oid, "report_oid": found.report_oid, "snapshots": found.snapshots}
freeze(lake, LINE, found.accepted, kind=kind, validation=about, check=check_dataset)
print(json.dumps([started - began, validated - started, time.perf_counter() - validated]))
"""
LINE = a_line()


def picture(number: int) -> bytes:
    """A PNG of noise, 64 x 48 px, different for each number: one that came twice would be a leak."""
    coarse = np.random.default_rng(number).integers(0, 255, (12, 16), dtype=np.uint8)
    return bytes(cv2.imencode(".png", cv2.resize(coarse, (64, 48), interpolation=cv2.INTER_CUBIC))[1])


def add(lake: Lake, first: int, count: int, boxes: int) -> None:
    """Recordings with `count` labelled frames, numbered from `first`."""
    rng = np.random.default_rng(first)
    size = {"width_px": 64, "height_px": 48}
    recordings = {
        name: a_recording(f"r{name}", name, frames_announced=PER_RECORDING, frames_decoded=PER_RECORDING, **size)
        for name in range(first // PER_RECORDING, -(-(first + count) // PER_RECORDING))
    }
    images = [picture(number) for number in range(first, first + count)]
    frames = [
        Frame(
            line=LINE.line, recording_id=recordings[number // PER_RECORDING].recording_id,
            frame_index=number % PER_RECORDING, oid=hashlib.sha256(image).hexdigest(), media_type="image/png",
            pts_s=number / 25, phash=hashlib.sha256(image).hexdigest()[:16], reason="sampled", taken_at=NOON, **size,
        )
        for number, image in enumerate(images, first)
    ]  # fmt: skip
    lake.blobs.put_many(images, "image/png")
    annotations = [
        an_annotation(frame, [a_box("sperm", x, y) for x, y in rng.uniform(0, [56, 42], (boxes, 2)).tolist()], number)
        for number, frame in enumerate(frames, first)
    ]
    lake.tables.append("recordings", list(recordings.values()))
    lake.tables.append("frames", frames)
    lake.tables.append("annotations", annotations)


def night(settings: Settings) -> list[float]:
    """Seconds of starting, of validation and of freezing, in a process of its own."""
    s3 = settings.s3
    environment = {
        **os.environ, "NIGHTSCOPE_STATE_DIR": str(settings.state_dir), "NIGHTSCOPE_S3__ENDPOINT": s3.endpoint,
        "NIGHTSCOPE_S3__ACCESS_KEY": s3.access_key, "NIGHTSCOPE_S3__SECRET_KEY": s3.secret_key.get_secret_value(),
        "NIGHTSCOPE_S3__LAKE_BUCKET": s3.lake_bucket, "NIGHTSCOPE_S3__LANDING_BUCKET": s3.landing_bucket,
    }  # fmt: skip
    done = subprocess.run([sys.executable, "-c", NIGHT], env=environment, check=True, stdout=subprocess.PIPE, text=True)
    seconds: list[float] = json.loads(done.stdout.splitlines()[-1])
    return seconds


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=10_000)
    parser.add_argument("--boxes", type=int, default=20)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, rclone(Path(name) / "served") as server:
        lake = open_lake(Settings(state_dir=Path(name) / "state", s3=server.settings))
        lake.store.ensure_bucket()
        add(lake, 0, chosen.frames, chosen.boxes)
        first = night(lake.settings)
        add(lake, chosen.frames, chosen.frames // 100, chosen.boxes)
        again = night(lake.settings)
    table = Table("step", "first s", "1 % new s", "share", title=f"{chosen.frames} frames of {chosen.boxes} boxes")
    for what, one, other in zip(("start", "validate", "freeze"), first, again, strict=True):
        table.add_row(what, f"{one:.2f}", f"{other:.2f}", f"{other / one:.1%}")
    one, other = sum(first[1:]), sum(again[1:])
    table.add_row("validate and freeze", f"{one:.2f}", f"{other:.2f}", f"{other / one:.1%}")
    Console().print(table)


if __name__ == "__main__":
    main()
