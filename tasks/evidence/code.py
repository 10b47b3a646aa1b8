"""Which code judged: recorded with each bundle, so that other numbers after an upgrade are not taken for tampering."""

from __future__ import annotations

import hashlib
import platform
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import tasks
from tasks.evaluation.code_version import measuring_version
from tasks.evidence.bundle import CodeEvidence
from tasks.schemas import Oid, digest
from tasks.training.code_version import code_version, git_commit, git_dirty, library_versions, lock_sha256

DECIDING = ("numpy", "scipy")


@cache
def judging_code() -> Oid:
    """Digest of what turns an evaluation into a decision: gates, what they measure by, and the libraries that compute.

    (What turns predictions into an evaluation stands in the evaluation itself: `measured_by`.)
    """
    here = Path(tasks.__file__).parent
    files = sorted((here / "gates").glob("*.py"))
    sources = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
    return digest(sources, measuring_version(), {name: _version(name) for name in DECIDING})


def code_now() -> CodeEvidence:
    """The code of this process, and what it runs on."""
    return CodeEvidence(
        judging=judging_code(),
        training=code_version(),
        git_commit=git_commit(),
        git_dirty=git_dirty(),
        lock_sha256=lock_sha256(),
        python=platform.python_version(),
        platform=platform.platform(),
        libraries={**library_versions(), **{name: found for name in DECIDING if (found := _version(name))}},
    )


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
