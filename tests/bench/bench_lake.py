"""What the lake costs: blobs against a plain disk copy, tables cold and warm, and a step that has nothing to do.

    python -m tests.bench.bench_lake [--blobs 10000] [--rows 100000]

Every contender runs in the same run, against the real rclone; ratios are what to compare, not seconds.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
from rich.console import Console
from rich.table import Table

from tasks.config import Settings
from tasks.lake import Lake, open_lake
from tasks.lake.blobs import hash_file
from tests.lake.nouns import frame
from tests.s3_servers import rclone

STEP = """
import time
started = time.perf_counter()
from tasks.config import load_settings
from tasks.lake import open_lake
lake = open_lake(load_settings())
for table in ("landings", "recordings", "frames", "annotations", "splits", "verdicts"):
    lake.tables.scan(table, columns=None)
print(time.perf_counter() - started)
"""


def timed(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def blobs(lake: Lake, folder: Path, count: int, size_bytes: int) -> list[tuple[str, float, float]]:
    """Rows of (what, seconds, plain disk seconds) for `count` blobs of `size_bytes`."""
    items = [os.urandom(size_bytes) for _ in range(count)]
    plain, copies = folder / "plain", folder / "copies"
    plain.mkdir()
    copies.mkdir()
    written = timed(lambda: [(plain / str(n)).write_bytes(data) for n, data in enumerate(items)])
    oids: list[str] = []
    put = timed(lambda: oids.extend(lake.blobs.put_many(items, "image/jpeg")))
    again = timed(lambda: lake.blobs.put_many(items, "image/jpeg"))
    with ThreadPoolExecutor(8) as threads:
        copied = timed(lambda: list(threads.map(lambda n: shutil.copy(plain / str(n), copies / str(n)), range(count))))
    fetched = timed(lambda: lake.blobs.fetch_many(oids))
    cached = timed(lambda: lake.blobs.fetch_many(oids))
    stats = timed(lambda: [(plain / str(n)).stat() for n in range(count)])
    what = f"{count} blobs of {size_bytes // 1024} KiB"
    return [
        (f"{what}: put_many", put, written),
        (f"{what}: put_many again", again, written),
        (f"{what}: fetch_many, cold (verified)", fetched, copied),
        (f"{what}: fetch_many, warm (against stat)", cached, stats),
    ]


def large(lake: Lake, folder: Path, size_mb: int) -> list[tuple[str, float, float]]:
    source = folder / "large"
    source.write_bytes(os.urandom(2**20) * size_mb)
    copied = timed(lambda: shutil.copy(source, folder / "large-copy"))
    hashed = timed(lambda: hash_file(source))
    oid: list[str] = []
    put = timed(lambda: oid.append(lake.blobs.put_file(source)))
    got = timed(lambda: lake.blobs.fetch(oid[0]))
    return [
        (f"hash of {size_mb} MiB", hashed, copied),
        (f"put_file of {size_mb} MiB", put, copied),
        (f"fetch of {size_mb} MiB", got, copied),
    ]


def tables(lake: Lake, rows: int) -> list[tuple[str, float, float]]:
    lake.tables.append("frames", [frame(0)])  # imports and makes
    one = lake.tables.scan("frames")
    many = pa.concat_tables([one] * rows).combine_chunks()
    small = timed(lambda: lake.tables.append("frames", [frame(n) for n in range(10)]))
    bulk = timed(lambda: lake.tables.append("frames", many))
    cold = timed(lambda: lake.tables.scan("frames"))
    warm = timed(lambda: lake.tables.scan("frames"))
    narrow = timed(lambda: lake.tables.scan("frames", {"frame_index": [3, 7]}, ["oid"]))
    nouns = timed(lambda: lake.tables.rows("frames", type(frame(0)), {"frame_index": [3, 7]}))
    return [
        ("append of 10 rows", small, small),
        (f"append of {rows} rows", bulk, small),
        (f"scan of {rows} rows, cold", cold, warm),
        (f"scan of {rows} rows, warm", warm, warm),
        ("scan with a filter, one column", narrow, warm),
        ("rows with a filter, as nouns", nouns, warm),
    ]


def step(settings: Settings) -> list[tuple[str, float, float]]:
    """A fresh process that opens the lake and scans six tables, against one that only starts Python."""
    s3 = settings.s3
    environment = {
        **os.environ, "NIGHTSCOPE_STATE_DIR": str(settings.state_dir), "NIGHTSCOPE_S3__ENDPOINT": s3.endpoint,
        "NIGHTSCOPE_S3__ACCESS_KEY": s3.access_key, "NIGHTSCOPE_S3__SECRET_KEY": s3.secret_key.get_secret_value(),
        "NIGHTSCOPE_S3__LAKE_BUCKET": s3.lake_bucket, "NIGHTSCOPE_S3__LANDING_BUCKET": s3.landing_bucket,
    }  # fmt: skip
    bare = min(timed(lambda: subprocess.run([sys.executable, "-c", "pass"], check=True)) for _ in range(5))
    inner = [
        float(subprocess.run([sys.executable, "-c", STEP], env=environment, check=True, capture_output=True).stdout)
        for _ in range(5)
    ]
    return [("a step with nothing new: import, open, six scans (best of 5)", min(inner), bare)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--blobs", type=int, default=10_000)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--large-mb", type=int, default=256)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, rclone(Path(name) / "served") as server:
        folder = Path(name)
        lake = open_lake(Settings(state_dir=folder / "state", s3=server.settings))
        lake.store.ensure_bucket()
        found = blobs(lake, folder, chosen.blobs, 20 * 1024)
        found += large(lake, folder, chosen.large_mb)
        found += tables(lake, chosen.rows)
        found += step(lake.settings)
    table = Table("what", "seconds", "baseline s", "ratio", title="The lake (rclone, this machine, now)")
    for what, seconds, baseline in found:
        table.add_row(what, f"{seconds:.3f}", f"{baseline:.3f}", f"{seconds / baseline:.1f}")
    Console().print(table)


if __name__ == "__main__":
    main()
