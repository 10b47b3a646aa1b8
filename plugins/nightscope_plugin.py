"""The only AirflowPlugin, and the only file of this folder that Airflow may import (see .airflowignore)."""

from __future__ import annotations

from airflow.plugins_manager import AirflowPlugin


class NightscopePlugin(AirflowPlugin):
    """Nightscope in Airflow. The package beside this file holds what DAGs share."""

    name = "nightscope"
