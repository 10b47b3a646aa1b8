"""A search as Optuna's journal: lines of JSON, which `optuna-dashboard` and other tools of Optuna open.

It is written for people, and never read back: what a search goes on from are its signed records.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.experiments.search.records import Search, TrialResult
from tasks.experiments.search.study import study_of

if TYPE_CHECKING:
    from optuna import Study


def write_journal(search: Search, finished: Sequence[TrialResult], path: Path) -> None:
    """Write the finished trials to a new journal file."""
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

    made: Study = study_of(search, finished)
    # A lock by opening a file: where the lake's scratch is, there may be no symbolic links.
    backend = JournalFileBackend(str(path), lock_obj=JournalFileOpenLock(str(path)))
    journal = optuna.create_study(
        study_name=f"{search.line}/{search.name}", direction=made.direction, storage=JournalStorage(backend)
    )
    journal.add_trials(made.trials)
