"""What it costs to tell new rows from known ones by their key: in Arrow, and as it was, in Python sets.

    python -m tests.bench.bench_keys [--known 1000000] [--rows 1000,100000,1000000]

Each way runs in a process of its own. The memory told beside the time is what it needed beyond the making of its
input; half of the rows are new.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from rich.console import Console
from rich.table import Table

from tasks.lake.table_keys import without_known

if TYPE_CHECKING:
    from collections.abc import Sequence

KEYS = {"one column": ("recording_id",), "two columns": ("recording_id", "frame_index")}


def with_sets(rows: pa.Table, known: pa.Table, key: Sequence[str]) -> pa.Table:
    """The rows that are new, as it was done before."""

    def in_order(table: pa.Table) -> list[tuple[Any, ...]]:
        return list(zip(*(table.column(name).to_pylist() for name in key), strict=True))

    seen, keep = set(in_order(known)), []
    for value in in_order(rows):
        keep.append(value not in seen)
        seen.add(value)
    return rows.filter(pa.array(keep, pa.bool_()))


WAYS = {"sets": with_sets, "Arrow": without_known}


def made(first: int, count: int, key: Sequence[str]) -> pa.Table:
    """Keys like those of frames: 64 hexadecimal digits, and 1,000 pictures a recording where there is an index."""
    numbers = np.arange(first, first + count)
    of = numbers // 1000 if len(key) > 1 else numbers
    names = pa.array([f"{number * 2654435761 % 2**64:064x}" for number in of.tolist()])
    return pa.table({"recording_id": names, "frame_index": pa.array(numbers % 1000)}).select(list(key))


def measure(way: str, name: str, known: int, rows: int) -> None:
    """Measure one way, in this process, and print what was found as JSON."""
    key = KEYS[name]
    there, data = made(0, known, key), made(known - rows // 2, rows, key)
    WAYS[way](data.slice(0, 10), there.slice(0, 10), key)  # imports
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began = time.process_time()
    fresh = WAYS[way](data, there, key)
    took = time.process_time() - began
    more = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    print(json.dumps({"cpu_s": took, "more_mb": more / 1024, "fresh": fresh.num_rows}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--known", type=int, default=1_000_000)
    parser.add_argument("--rows", default="1000,100000,1000000")
    parser.add_argument("--one", nargs=3)
    chosen = parser.parse_args()
    if chosen.one:
        measure(chosen.one[0], chosen.one[1], chosen.known, int(chosen.one[2]))
        return
    table = Table("key", "rows", "sets: CPU s", "Arrow: CPU s", "sets: more MB", "Arrow: more MB", title="New by key")
    for name in KEYS:
        for rows in chosen.rows.split(","):
            found = {}
            for way in WAYS:
                command = [sys.executable, "-m", "tests.bench.bench_keys", "--known", str(chosen.known)]
                said = subprocess.run([*command, "--one", way, name, rows], check=True, capture_output=True, text=True)
                found[way] = json.loads(said.stdout)
            assert found["sets"]["fresh"] == found["Arrow"]["fresh"] == int(rows) - int(rows) // 2
            times = [f"{found[way]['cpu_s']:.3f}" for way in WAYS]
            table.add_row(name, rows, *times, *(f"{found[way]['more_mb']:.0f}" for way in WAYS))
    Console().print(table)


if __name__ == "__main__":
    main()
