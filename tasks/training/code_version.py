"""Which code a model was trained by: part of a training's identity, and of its record."""

from __future__ import annotations

import hashlib
import subprocess
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from tasks.config import HOME
from tasks.schemas import digest

HERE = Path(__file__).parent
AFTERWARDS = {"export.py", "export_worker.py", "footprint.py"}
"""Sources in this room that only ever see a finished model."""
LIBRARIES = ("ultralytics", "torch", "torchvision", "numpy", "opencv-python-headless", "mlflow", "pandas", "nightscope")
"""Whose versions are recorded with a training."""


@cache
def code_version() -> str:
    """The version of what can change a training's result: '0.1.0+4f1c...'.

    It is the digest of the sources in this room (recipes and architectures included; not what only exports a finished
    model) and of the versions of ultralytics and torch. Not the git commit: a commit that touches a report would train
    every line again in the next night.
    """
    sources = {
        str(path.relative_to(HERE)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(HERE.rglob("*"))
        if path.suffix in {".py", ".yaml"} and path.name not in AFTERWARDS
    }
    versions = library_versions()
    deciding = {name: versions.get(name) for name in ("ultralytics", "torch", "torchvision")}
    return f"{versions.get('nightscope', '0')}+{digest(sources, deciding)[:16]}"


@cache
def library_versions(names: tuple[str, ...] = LIBRARIES) -> dict[str, str]:
    """Installed versions of libraries, by default of those that a training rests on; what is not there is left out."""
    found = {}
    for name in names:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


@cache
def git_commit() -> str | None:
    """The checkout's commit; None outside a checkout. For the record: people look for it, nothing rests on it."""
    try:
        return _git("rev-parse", "HEAD")
    except (OSError, subprocess.SubprocessError):
        return None


@cache
def git_dirty() -> bool | None:
    """Whether tracked files differ from the commit; None outside a checkout."""
    try:
        return bool(_git("status", "--porcelain", "--untracked-files=no"))
    except (OSError, subprocess.SubprocessError):
        return None


@cache
def lock_sha256() -> str | None:
    """The hash of uv.lock, which pins every library; None where the package is installed without it."""
    path = HOME / "uv.lock"
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None


def _git(*arguments: str) -> str:
    command = ["git", "-C", str(HERE), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()
