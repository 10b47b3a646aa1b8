"""Which code judged: recorded with each bundle, so that other numbers after an upgrade are not taken for tampering."""

from __future__ import annotations

import platform

from tasks.evidence.bundle import CodeEvidence
from tasks.provenance import (
    DECIDING,
    LIBRARIES,
    code_of,
    code_version,
    git_commit,
    git_dirty,
    library_versions,
    lock_sha256,
)


def code_now(kind: str | None) -> CodeEvidence:
    """The code of this process that decides for lines of a kind (None: of one that is gone), and what it runs on."""
    return CodeEvidence(
        judging=code_of("verdict", kind) if kind else "",
        training=code_version(kind) if kind else "",
        git_commit=git_commit(),
        git_dirty=git_dirty(),
        lock_sha256=lock_sha256(),
        python=platform.python_version(),
        platform=platform.platform(),
        libraries=library_versions((*LIBRARIES, *DECIDING["verdict"].libraries)),
    )
