"""An Airflow of a test's own, for `dag.test()` in a subprocess."""

from __future__ import annotations

import os

from filelock import FileLock

from tasks.config import HOME, Settings
from tasks.stack.layout import Layout
from tasks.stack.prepare import migrate_airflow


def airflow_environment(settings: Settings) -> dict[str, str]:
    """Environment of a process that runs our DAGs on `settings`, with a database of its own, made if missing."""
    layout = Layout.at(settings.state_dir / "airflow-test")
    layout.create()
    environment = os.environ | {
        "AIRFLOW_HOME": str(layout.airflow_home),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__DAGS_FOLDER": str(HOME / "dags"),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(HOME / "plugins"),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{layout.airflow_db}",
        "NIGHTSCOPE_STATE_DIR": str(settings.state_dir),
        "PYTHONPATH": str(HOME),
    }
    with FileLock(layout.lock):  # tests of other workers may be on the same services
        migrate_airflow(layout, environment)
    return environment
