"""What a process of Airflow has imported before it forks tasks."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.dags.conftest import HOME

ASKED = """
import sys
sys.argv = ["airflow", *{words!r}]
import airflow.settings
airflow.settings.initialize()
print("pyiceberg.catalog.sql" in sys.modules, "nightscope" in " ".join(sys.modules), "tasks" in sys.modules)
"""


@pytest.mark.parametrize(
    ("words", "imported"),
    [(["scheduler", "--skip-serve-logs"], True), (["celery", "worker"], True), (["api-server"], False), ([], False)],
)
def test_what_forks_tasks_has_imported_the_catalog_and_nothing_of_ours(
    words: list[str], imported: bool, tmp_path: Path
) -> None:
    environment = os.environ | {"AIRFLOW_HOME": str(tmp_path), "AIRFLOW__CORE__PLUGINS_FOLDER": str(HOME / "plugins")}
    done = subprocess.run(
        [sys.executable, "-P", "-c", ASKED.format(words=words)],
        env=environment, capture_output=True, text=True, check=True, cwd=tmp_path,
    )  # fmt: skip
    assert done.stdout.split()[-3:] == [str(imported), "False", "False"]
