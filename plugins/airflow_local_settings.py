"""What the processes that Airflow's tasks are forked from import beforehand.

Airflow imports this file in each of its processes. A task is a fork of the scheduler or of a Celery worker: what these
have imported, no task has to import again. PyIceberg costs half a second; a night has some ten tasks. Only libraries of
others: our own code may change while the scheduler runs.
"""

from __future__ import annotations

import sys

__all__: list[str] = []  # Airflow takes every public name of this file for a setting


def _forks_tasks(words: list[str]) -> bool:
    """Whether the program that these command line words start runs tasks as forks of itself."""
    return words[:1] == ["scheduler"] or words[:2] == ["celery", "worker"]


if _forks_tasks(sys.argv[1:]):
    import pyarrow.compute  # noqa: F401
    import pyiceberg.catalog.sql  # noqa: F401
