"""Which worker of pytest-xdist runs which tests, and when: see `pytest_xdist_make_scheduler` in conftest.py."""

from __future__ import annotations

from xdist.scheduler import LoadFileScheduling

TOGETHER = ("browser", "dags", "evidence", "labeling", "leakage", "operations/serving", "security")
"""Folders whose tests share what takes long to start or to make: a stack, a trained champion. One worker runs a
folder's tests, else each worker would make it for itself."""

LONGEST_FIRST = (
    "production/test_production_night", "e2e/test_command_line", "kinds/segmentation/test_python_api", "browser/",
    "e2e/", "operations/serving/",
    "training/", "experiments/", "security/", "steps/", "kinds/", "labeling/", "operations/", "stack/", "evidence/",
    "ingest/",
)  # fmt: skip
"""Test files that a run begins with, so that no worker is left alone with one of them at the end. The first two
wait for others more than they compute, the third computes all the time."""


def rank(name: str) -> int:
    """The place of a test file, named from `tests/` on: lower is earlier."""
    return next((place for place, start in enumerate(LONGEST_FIRST) if name.startswith(start)), len(LONGEST_FIRST))


class ByFileOrFolder(LoadFileScheduling):
    """As `--dist loadfile`; and a folder of `TOGETHER` is as one file."""

    def _split_scope(self, nodeid: str) -> str:
        file = super()._split_scope(nodeid)
        return next((folder for folder in TOGETHER if file.startswith(f"tests/{folder}/")), file)
