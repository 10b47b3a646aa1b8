"""What evidence costs: recording a verdict, and verifying a chain: `python -m tests.bench.bench_evidence [FRAMES]`.

On a real S3 server and a real MLflow of this machine. Wall-clock seconds, one run; beside them the CPU of this process.
"Hashing alone" reads and hashes the same frames from the same server, side by side as `verify` does: what nobody can
beat who does not trust a cache.
"""

from __future__ import annotations

import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tasks.config import Settings
from tasks.lake import open_lake
from tests.evidence.world import FRAME_BYTES, Nights
from tests.s3_servers import rclone
from tests.services import running

FRAMES = 5_000
NIGHTS = 6


def main(frames: int) -> None:
    """Run it and print the table."""
    rows = Table("what", "s", "CPU s", title=f"evidence: {NIGHTS} nights, {frames} frames of {FRAME_BYTES // 1000} kB")
    with (
        tempfile.TemporaryDirectory() as scratch,
        rclone(Path(scratch) / "s3") as server,
        running(Path(scratch) / "stack", ("s3", "mlflow")) as stack,
    ):
        name = uuid.uuid4().hex[:8]
        s3 = server.settings.model_copy(update={"landing_bucket": f"landing-{name}", "lake_bucket": f"lake-{name}"})
        lake = open_lake(Settings(state_dir=Path(scratch) / "state", s3=s3))
        nights = Nights(lake, stack, Path(scratch), more_frames=frames)
        for number in range(NIGHTS):
            verdict = nights.judge(nights.train(f"{number:064x}"), 0.1 if number == 0 else 0.3)
            timed = _timed(lambda verdict=verdict: nights.carry_out(verdict))  # type: ignore[misc]
            if number in (0, NIGHTS - 1):
                rows.add_row(f"promoting or holding, and recording: night {number + 1}", *timed)
        rows.add_row("verify --quick", *_timed(lambda: nights.verify(quick=True)))
        rows.add_row("verify, everything", *_timed(nights.verify))
        keys = [info.key for info in lake.store.list("blobs/") if info.size_bytes == FRAME_BYTES]
        with ThreadPoolExecutor(lake.settings.workers * 4) as threads:
            rows.add_row("hashing the frames alone", *_timed(lambda: list(threads.map(lake.store.rehash, keys))))
    Console().print(rows)


def _timed(work: Callable[[], object]) -> tuple[str, str]:
    wall, cpu = time.monotonic(), time.process_time()
    work()
    return f"{time.monotonic() - wall:.2f}", f"{time.process_time() - cpu:.2f}"


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else FRAMES)
