"""How long a label sync takes, and how much memory: `python -m tests.bench.bench_sync [--labeling-tasks 5000]`.

Starts a real S3 server and Label Studio, puts frames before the annotators, annotates each with 20 boxes through the
API, pulls everything in one go, and syncs again with nothing new. Peak memory is that of the process that syncs.
"""

from __future__ import annotations

import argparse
import hashlib
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tasks.config import LabelStudioSettings, Settings
from tasks.kinds import kind_of
from tasks.labeling.client import LabelStudio
from tasks.labeling.projects import ensure_project
from tasks.labeling.push_tasks import frame_row, place
from tasks.labeling.state import SyncState
from tasks.labeling.sync import sync
from tasks.lake import open_lake
from tasks.schemas import Frame, now
from tests.labeling.annotators import HEIGHT_PX, WIDTH_PX, a_line, a_recording, box, regions
from tests.s3_servers import rclone
from tests.services import running

DETECTION = kind_of("detection")

FRESH, LABELLED = a_line("fresh-frames"), a_line("labelled-frames")
BOXES = 20


def add_frames(settings: Settings, line: str, count: int) -> None:
    """Rows for frames without images: a sync never opens one."""
    lake = open_lake(settings)
    lake.store.ensure_bucket()
    recording = a_recording(frames=count)
    lake.tables.append("recordings", [recording])
    rows = [
        Frame(
            line=line, recording_id=recording.recording_id, frame_index=index,
            oid=hashlib.sha256(str(index).encode()).hexdigest(), media_type="image/jpeg", pts_s=index / 30,
            width_px=WIDTH_PX, height_px=HEIGHT_PX, phash="0" * 16, reason="sampled", taken_at=now(),
        )
        for index in range(count)
    ]  # fmt: skip
    lake.tables.append("frames", rows)


def annotate(settings: Settings) -> None:
    """Labeling tasks with an annotation each, as `labels import` makes them."""
    lake = open_lake(settings)
    rows = [frame_row(frame) for frame in lake.tables.rows("frames", Frame, {"line": LABELLED.line})]
    drawn = {
        (row["recording_id"], row["frame_index"]): regions(*(box(20 + 30 * k, 20 + k) for k in range(BOXES)))
        for row in rows
    }
    with LabelStudio(settings.label_studio) as client:
        place(client, ensure_project(client, LABELLED, None, kind=DETECTION), lake, rows, SyncState(), drawn)


def sync_in_own_process(settings: Settings, line: str) -> tuple[float, float, str]:
    """(wall seconds, peak MB, what it did) of a sync as a step runs it: interpreter start and imports included."""
    started = time.monotonic()
    command = [sys.executable, "-m", "tests.bench.bench_sync", "--sync", line, "--settings", settings.model_dump_json()]
    secrets = f"{settings.s3.secret_key.get_secret_value()}\n{settings.label_studio.token.get_secret_value()}"
    done = subprocess.run(command, input=secrets, capture_output=True, text=True, check=True)
    peak_mb, said = done.stdout.strip().split(" ", 1)
    return time.monotonic() - started, float(peak_mb), said


def sync_here(settings: Settings, line: str) -> None:
    """The other side of `sync_in_own_process`."""
    secret_key, token = sys.stdin.read().split("\n")
    s3 = settings.s3.model_copy(update={"secret_key": type(settings.s3.secret_key)(secret_key)})
    account = LabelStudioSettings(url=settings.label_studio.url, token=type(settings.s3.secret_key)(token))
    report = sync(open_lake(settings.model_copy(update={"s3": s3, "label_studio": account})), a_line(line), DETECTION)
    # Not ru_maxrss: Linux hands that on from the process that started this one.
    status = Path("/proc/self/status").read_text()
    peak_mb = int(status.split("VmHWM:")[1].split()[0]) / 1024
    print(f"{peak_mb:.0f} {report.tasks_created} labeling tasks made, {report.revisions} revisions")


def bench(count: int) -> None:
    """Run it all and print the table."""
    table = Table("what", "seconds", "peak MB", "result", title=f"label sync, {count} labeling tasks x {BOXES} boxes")
    with (
        tempfile.TemporaryDirectory() as scratch,
        rclone(Path(scratch) / "s3") as s3,
        running(Path(scratch) / "ls", ("label-studio",), s3=s3.settings) as found,
    ):
        settings = Settings(state_dir=Path(scratch) / "state", s3=s3.settings, label_studio=found.label_studio)
        for line in (FRESH.line, LABELLED.line):
            add_frames(settings, line, count)

        def measured(what: str, line: str) -> None:
            seconds, peak_mb, said = sync_in_own_process(settings, line)
            table.add_row(what, f"{seconds:.1f}", f"{peak_mb:.0f}", said)

        measured("frames become labeling tasks", FRESH.line)
        annotate(settings)
        measured("pull everything", LABELLED.line)
        measured("again, just after", LABELLED.line)
        time.sleep(130)  # until all changes lie behind the watermark's overlap, as they do the next night
        measured("again, moves the watermark", LABELLED.line)
        measured("a night with nothing new", LABELLED.line)
    Console().print(table)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--labeling-tasks", type=int, default=5000)
    parser.add_argument("--sync", help=argparse.SUPPRESS)
    parser.add_argument("--settings", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.sync:
        sync_here(Settings.model_validate_json(chosen.settings), chosen.sync)
    else:
        bench(chosen.labeling_tasks)
