"""What taking in stills costs, against copying the same files and hashing them.

    python -m tests.bench.bench_stills

10,000 pictures of 190 x 170 px (made here: cells on a coloured field, PNG, about 50 kB each, in 100 folders), in one
run on one machine: a plain copy of the folder with the sha256 of every file, then `add --stills --group-by folder`,
then the night that makes each a recording with a frame, on a fresh lake on the real rclone; then both again, with
nothing new. Wall seconds, and CPU seconds of this process and all that it started (rclone's, which serves, are beside).
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import psutil

from tasks.config import Line, Settings, parse_line
from tasks.ingest.recordings import ingest_new
from tasks.ingest.stills.adding import add_stills
from tasks.lake import Lake, open_lake
from tests.s3_servers import rclone

WIDTH, HEIGHT, FOLDERS = 190, 170, 100
WANTED_S = 60.0


def make(folder: Path, count: int) -> None:
    """Write the pictures."""
    cv2.setNumThreads(1)
    generator = np.random.default_rng(0)
    fields = [cv2.GaussianBlur(generator.normal(120, 40, (HEIGHT, WIDTH, 3)), (0, 0), 9) for _ in range(40)]
    for number in range(count):
        own = folder / f"donor{number % FOLDERS:03d}"
        own.mkdir(parents=True, exist_ok=True)
        picture = (fields[number % 40] + generator.normal(0, 3, (HEIGHT, WIDTH, 3))).clip(0, 255).astype(np.uint8)
        x, y = (int(place) for place in generator.uniform(30, 140, 2))
        cv2.ellipse(picture, (x, y), (14, 9), float(generator.uniform(0, 180)), 0, 360, (200, 180, 90), -1)
        cv2.imwrite(str(own / f"{number:05d}.png"), picture)


def copy_and_hash(source: Path, target: Path) -> int:
    """The plain way."""
    count = 0
    for path in sorted(source.rglob("*.png")):
        own = target / path.relative_to(source)
        own.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, own)
        hashlib.sha256(own.read_bytes()).hexdigest()
        count += 1
    return count


def a_line() -> Line:
    """One that takes every picture."""
    data = {
        "line": "cells", "kind": "detection", "classes": ["cell"], "recipe": {"name": "detection-from-scratch"},
        "gates": [{"metric": "AP50", "at_least": 0}],
    }  # fmt: skip
    return parse_line(data, "the benchmark's line")


def measured(title: str, work: Callable[[], int], wanted: int, plain: float | None = None) -> tuple[float, float]:
    """Do it, print it; wall and CPU seconds."""
    server = sum(_cpu_of(each) for each in psutil.Process().children() if "rclone" in each.name())
    begin, before = time.perf_counter(), sum(os.times()[:4])
    count = work()
    wall, cpu = time.perf_counter() - begin, sum(os.times()[:4]) - before
    server = sum(_cpu_of(each) for each in psutil.Process().children() if "rclone" in each.name()) - server
    if count != wanted:
        raise SystemExit(f"{title}: {count} pictures, expected {wanted}")
    ratio = "" if plain is None else f"{cpu / plain:>8.1f}x"
    print(f"{title:<26} {wall:>8.1f} {cpu:>8.1f} {server:>8.1f} {ratio}", flush=True)
    return wall, cpu


def _cpu_of(process: psutil.Process) -> float:
    spent = process.cpu_times()
    return float(spent.user + spent.system)


def _add(lake: Lake, folder: Path) -> int:
    return len(add_stills(lake, [str(folder)], group_by="folder").accepted)


def main() -> None:
    """Make the pictures, measure, print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=10_000)
    count = parser.parse_args().pictures
    with tempfile.TemporaryDirectory() as name, rclone(Path(name) / "served") as server:
        folder = Path(name) / "pictures"
        make(folder, count)
        lake = open_lake(Settings(state_dir=Path(name) / "state", s3=server.settings))
        lake.landing.ensure_bucket()
        lake.store.ensure_bucket()
        print(
            f"{count} pictures of {WIDTH}x{HEIGHT} px\n\n{'':<26} {'wall s':>8} {'CPU s':>8} {'rclone':>8}  CPU/plain"
        )
        _, plain = measured("copy and sha256", lambda: copy_and_hash(folder, Path(name) / "copy"), count)
        add_s, add = measured("add --stills", lambda: _add(lake, folder), count, plain)
        night_s, night = measured("the night", lambda: len(ingest_new(lake, [a_line()]).new), count, plain)
        measured("add --stills again", lambda: _add(lake, folder), count, plain)
        measured("the night, nothing new", lambda: len(ingest_new(lake, [a_line()]).new), 0, plain)
        ratio = (add + night) / plain
        print(f"\nadd and night: {add_s + night_s:.1f} s ({ratio:.1f}x the plain copy's CPU); wanted: {WANTED_S:.0f} s")


if __name__ == "__main__":
    main()
