"""Airflow's configuration of these tests is the throw-away one of `tests/dags`; never the user's."""

from __future__ import annotations

from tests.dags import conftest

HOME = conftest.HOME
