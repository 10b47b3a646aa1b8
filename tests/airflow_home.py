"""An Airflow of a test's own, for `dag.test()` in a subprocess."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tasks.config import HOME, Settings


def airflow_environment(settings: Settings) -> dict[str, str]:
    """Environment of a process that runs our DAGs on `settings`, with a database of its own, made if missing."""
    home = settings.state_dir / "airflow-test"
    environment = os.environ | {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__DAGS_FOLDER": str(HOME / "dags"),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(HOME / "plugins"),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home}/airflow.db",
        "NIGHTSCOPE_STATE_DIR": str(settings.state_dir),
        "PYTHONPATH": str(HOME),
    }
    if not (home / "airflow.db").exists():
        migrate = [str(Path(sys.executable).with_name("airflow")), "db", "migrate"]
        subprocess.run(migrate, env=environment, check=True, capture_output=True)
    return environment
