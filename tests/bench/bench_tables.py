"""How tables cost more as they grow: rows, files, metadata, with and without partitions, before and after compaction.

    python -m tests.bench.bench_tables [--rows 10000 100000 1000000] [--table annotations] [--layouts none month day]

Each table is filled night by night, every night with one per cent of the rows, of ten lines; then one more night is
appended by key, and one line is read. Against the real rclone and SQLite. CPU seconds are of this process alone.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyiceberg.manifest
import pytest
from rich.console import Console
from rich.table import Table

from tasks.config import Settings
from tasks.lake import Lake, open_lake, partitions
from tasks.lake.partitions import Partitioning
from tasks.schemas import now
from tests.s3_servers import S3Server, rclone

NIGHTS, LINES, FRAMES, BOXES = 100, 10, 50, 20
FIRST = datetime(2026, 1, 1, 2, tzinfo=UTC)
KEYS = {"frames": ["line", "recording_id", "frame_index"], "annotations": ["revision_id"]}
AT = {"frames": "taken_at", "annotations": "synced_at"}


@dataclass
class Cost:
    """Of one thing that was done: wall and CPU seconds of this process."""

    wall_s: float
    cpu_s: float

    def __str__(self) -> str:
        return f"{self.wall_s:.2f} ({self.cpu_s:.2f})"


def cost(work: Callable[[], object]) -> Cost:
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return Cost(time.perf_counter() - wall, time.process_time() - cpu)


def oids(random: np.random.Generator, count: int) -> list[str]:
    text = random.bytes(32 * count).hex()
    return [text[place : place + 64] for place in range(0, len(text), 64)]


def frames(random: np.random.Generator, night: int, count: int) -> pa.Table:
    """One night's frames, an equal part for each line, `FRAMES` of a recording."""
    recordings = oids(random, -(-count // FRAMES))
    lines = [f"line-{n * LINES // count}" for n in range(count)]
    return pa.table(
        {
            "line": lines, "recording_id": [recordings[n // FRAMES] for n in range(count)],
            "frame_index": pa.array([12 * (n % FRAMES) for n in range(count)], pa.int64()),
            "oid": oids(random, count), "media_type": ["image/jpeg"] * count,
            "pts_s": [0.5 * (n % FRAMES) for n in range(count)], "width_px": [640] * count, "height_px": [480] * count,
            "phash": [oid[:16] for oid in oids(random, count)], "reason": ["sampled"] * count,
            "taken_at": pa.array([FIRST + timedelta(days=night)] * count, pa.timestamp("us", tz="UTC")),
        }
    )  # fmt: skip


def boxes(random: np.random.Generator) -> str:
    numbers = random.random((BOXES, 4)).round(3).tolist()
    return json.dumps(
        [
            {"height_px": h * 20, "label": "sperm", "width_px": w * 20, "x_px": x * 600, "y_px": y * 400}
            for x, y, w, h in numbers
        ]
    )


def annotations(random: np.random.Generator, night: int, count: int) -> pa.Table:
    """One night's revisions, each of `BOXES` boxes."""
    own = frames(random, night, count)
    moment = pa.array([FIRST + timedelta(days=night)] * count, pa.timestamp("us", tz="UTC"))
    return pa.table(
        {
            "annotation_id": [f"1-{night}-{n}" for n in range(count)], "revision_id": oids(random, count),
            "line": own["line"], "recording_id": own["recording_id"], "frame_index": own["frame_index"],
            "frame_oid": own["oid"], "labeling_task_id": pa.array(range(count), pa.int64()),
            "annotator": ["ann"] * count, "state": ["active"] * count, "objects": [boxes(random) for _ in range(count)],
            "updated_at": moment, "synced_at": moment,
        }
    )  # fmt: skip


def forget_here(lake: Lake) -> None:
    """As on a machine that has never read the tables."""
    shutil.rmtree(lake.settings.cache_dir / "tables", ignore_errors=True)
    pyiceberg.manifest.clear_manifest_cache()


@contextmanager
def layout(table: str, every: str) -> Iterator[None]:
    chosen = {} if every == "none" else {table: Partitioning("line", AT[table], every)}  # type: ignore[arg-type]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(partitions, "PARTITIONED", chosen)
        patch.setattr("tasks.lake.tables.MAX_FILES", 10**9)  # compaction is measured apart
        yield


def metadata(lake: Lake, table: str) -> dict[str, Any]:
    """What a commit writes anew, and what a planner reads, in kilobytes."""
    found = lake.tables._iceberg.find(table)
    assert found is not None
    snapshot = found.current_snapshot()
    assert snapshot is not None
    manifests = snapshot.manifests(found.io)
    return {
        "json_kb": len(found.io.new_input(found.metadata_location)) / 1e3,
        "manifests": len(manifests),
        "manifests_kb": sum(manifest.manifest_length for manifest in manifests) / 1e3,
        "sequence": found.metadata.last_sequence_number,
        "rows_mb": sum(int(size) for size in found.inspect.files().column("file_size_in_bytes").to_pylist()) / 1e6,
    }


def measure(lake: Lake, table: str, night: pa.Table) -> dict[str, Any]:
    """A line's reading, cold and warm, and one more night."""
    one = {"line": "line-3"}
    forget_here(lake)
    planning = cost(lambda: lake.tables.planned(table, one))
    every, mine = lake.tables.planned(table) or [], lake.tables.planned(table, one) or []
    before = metadata(lake, table)
    cold = cost(lambda: lake.tables.scan(table, one))
    warm = cost(lambda: lake.tables.scan(table, one))
    append = cost(lambda: lake.tables.append(table, night, key=KEYS[table]))
    again = cost(lambda: lake.tables.append(table, night, key=KEYS[table]))
    commits = metadata(lake, table)["sequence"] - before["sequence"]
    return {
        "files": len(every), "a line's": len(mine), "planning s": planning, "line, cold s": cold, "line, warm s": warm,
        "1 % new s": append, "again, nothing new s": again, "commits": commits, "json kB": f"{before['json_kb']:.0f}",
        "manifests": f"{before['manifests']} ({before['manifests_kb']:.0f} kB)", "rows MB": f"{before['rows_mb']:.1f}",
    }  # fmt: skip


def grown(server: S3Server, folder: Path, table: str, rows: int, every: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Fill a table, and measure it before and after compaction."""
    bucket = f"{table}-{rows}-{every}"
    s3 = server.settings.model_copy(update={"lake_bucket": bucket})
    lake = open_lake(Settings(state_dir=folder / bucket, s3=s3))
    lake.store.ensure_bucket()
    random, make = np.random.default_rng(0), {"frames": frames, "annotations": annotations}[table]
    with layout(table, every):
        for night in range(NIGHTS):
            lake.tables.append(table, make(random, night, rows // NIGHTS))
        yield "as appended", measure(lake, table, make(random, NIGHTS, rows // NIGHTS))
        compaction = cost(lambda: lake.tables.compact(table))
        lake.tables.expire(table, now() + timedelta(days=1), ())
        yield f"compacted: {compaction} s", measure(lake, table, make(random, NIGHTS + 1, rows // NIGHTS))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--table", choices=list(KEYS), default="frames")
    parser.add_argument("--layouts", nargs="+", choices=["none", "month", "day"], default=["none", "month", "day"])
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, rclone(Path(name) / "served") as server:
        for rows in chosen.rows:
            table: Table | None = None
            for every in chosen.layouts:
                for state, found in grown(server, Path(name), chosen.table, rows, every):
                    table = table or Table("partitions", "state", *found, title=f"{rows} {chosen.table}, wall (CPU)")
                    table.add_row(every, state, *map(str, found.values()))
            Console(width=250).print(table)


if __name__ == "__main__":
    main()
