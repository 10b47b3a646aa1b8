"""A throw-away Airflow for parsing and testing DAGs. Configured by environment before anything imports airflow."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

HOME = Path(__file__).resolve().parents[2]
_AIRFLOW_HOME = tempfile.mkdtemp(prefix="nightscope-airflow-")

os.environ.setdefault("AIRFLOW_HOME", _AIRFLOW_HOME)
os.environ.setdefault("AIRFLOW__CORE__LOAD_EXAMPLES", "False")
os.environ.setdefault("AIRFLOW__CORE__DAGS_FOLDER", str(HOME / "dags"))
os.environ.setdefault("AIRFLOW__CORE__PLUGINS_FOLDER", str(HOME / "plugins"))
os.environ.setdefault("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", f"sqlite:///{_AIRFLOW_HOME}/airflow.db")
os.environ.setdefault("AIRFLOW__LOGGING__LOGGING_LEVEL", "WARNING")


@pytest.fixture(scope="session")
def dag_bag() -> Iterator[object]:
    """Every DAG of the project, parsed once."""
    from airflow.dag_processing.dagbag import DagBag

    yield DagBag(HOME / "dags")
