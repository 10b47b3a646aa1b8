"""The state folder: whose it is, who can read it, and whether a night fits on its disks."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

from tasks.errors import NightscopeError
from tasks.operations.doctor.findings import Finding, check, ok, warning, wrong
from tasks.operations.doctor.patient import Patient
from tasks.schemas import now

BASE_BYTES = 2 * 10**9
"""What a night writes beside recordings: checkpoints, logs, databases, reports."""
TIMES_LANDED = 3
"""A recording that landed lies in the landing bucket already; then come its blob, its frames, and their layout."""
_A_DAY = timedelta(days=1)
_SECRET = ("settings.env", "stack/*.json", "keys/*", "serve/*.token")
_PUBLIC = ("trusted-keys.json", "heads.json", ".pub", ".lock")


@check("state.folder", everywhere=True)
def folder(patient: Patient) -> Iterator[Finding]:
    """The state folder is there, ours, and closed to others."""
    path = patient.state_dir
    if not path.is_dir():
        yield wrong(f"{path}: is not there", "nightscope up makes it; or name another in NIGHTSCOPE_STATE_DIR")
        return
    about = path.stat()
    if about.st_uid != os.getuid():
        yield wrong(f"{path}: belongs to user {about.st_uid}, and this is user {os.getuid()}",
                    f"run as that user, or: chown --recursive {os.getuid()} {path}")  # fmt: skip
    if mode := stat.S_IMODE(about.st_mode) & 0o077:
        yield wrong(f"{path}: others may enter it (mode {stat.S_IMODE(about.st_mode):04o}, {mode:03o} too much)",
                    f"chmod 700 {path}")  # fmt: skip
    elif about.st_uid == os.getuid():
        yield ok(f"{path}, mode {stat.S_IMODE(about.st_mode):04o}")
    if not os.access(path, os.W_OK | os.X_OK):
        yield wrong(f"{path}: cannot be written", f"chmod u+rwx {path}; or the disk is mounted read-only")


@check("state.secrets", everywhere=True)
def secrets(patient: Patient) -> Iterator[Finding]:
    """Files with secrets are for their owner only."""
    found = sorted({path for pattern in _SECRET for path in patient.state_dir.glob(pattern) if path.is_file()})
    private = [path for path in found if not path.name.endswith(_PUBLIC)]
    for path in private:
        about = path.stat()
        if about.st_mode & 0o077:
            yield wrong(f"{path}: others can read it (mode {stat.S_IMODE(about.st_mode):04o})", f"chmod 600 {path}")
        elif about.st_uid != os.getuid():
            yield wrong(f"{path}: belongs to user {about.st_uid}", f"chown {os.getuid()} {path}")
    if not any(path.stat().st_mode & 0o077 for path in private):
        yield ok(f"{len(private)} files, for their owner only")


@check("state.disk", everywhere=True)
def disk(patient: Patient) -> Iterator[Finding]:
    """Every volume has room for a night."""
    landed = _landed_bytes(patient)
    needed = BASE_BYTES + TIMES_LANDED * (landed or 0)
    note = "" if landed is not None else " (S3 did not say what landed: without that)"
    for path in _volumes(patient):
        free, inodes = shutil.disk_usage(path).free, os.statvfs(path)
        where = f"{path}: {free / 1e9:.1f} GB free"
        if inodes.f_files and inodes.f_favail < 10_000:
            yield wrong(f"{path}: only {inodes.f_favail} files can still be made", "remove files there")
        elif free < needed:
            yield wrong(f"{where}, a night needs about {needed / 1e9:.1f}{note}", "make room there, or lower "
                        "NIGHTSCOPE_LOCAL_SPACE__MOST_GB and _KEEP_DAYS and run the DAG Tidy up the lake")  # fmt: skip
        elif free < 2 * needed:
            yield warning(f"{where}, enough for one night of {needed / 1e9:.1f}{note}", "make room there soon")
        else:
            yield ok(f"{where}; a night needs about {needed / 1e9:.1f}{note}")


@check("state.noexec")
def noexec(patient: Patient) -> Iterator[Finding]:
    """Programs can be run where their files lie: compilers of kernels write some into the temporary folder."""
    for path in {patient.layout.temporary_dir, Path(tempfile.gettempdir())}:
        if path.is_dir() and os.statvfs(path).f_flag & os.ST_NOEXEC:
            yield warning(f"{path}: is mounted noexec; libraries that compile as they run fail there",
                          "set TMPDIR to a folder of another disk, or mount it with exec")  # fmt: skip


def _volumes(patient: Patient) -> list[Path]:
    """A folder on each disk that a night writes to."""
    state = patient.state_dir
    places = [state, state / "work", state / "cache", state / "s3", state / "s3-landing", state / "s3-mlflow",
              patient.layout.temporary_dir, Path(tempfile.gettempdir())]  # fmt: skip
    return list({path.stat().st_dev: path for path in reversed(places) if path.is_dir()}.values())[::-1]


def _landed_bytes(patient: Patient) -> int | None:
    """What landed within a day; None where S3 did not answer."""
    try:
        if patient.settings.only_brings:
            return 0
        since = now() - _A_DAY
        return sum(info.size_bytes for info in patient.session.lake.landing.list() if info.modified_at > since)
    except NightscopeError:
        return None
