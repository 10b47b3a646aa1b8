"""The only AirflowPlugin, and the only file of this folder that Airflow may import (see .airflowignore)."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from airflow.plugins_manager import AirflowPlugin


class NightscopePlugin(AirflowPlugin):
    """Nightscope in Airflow. The package beside this file holds what DAGs share, and the pages of the API server."""

    name = "nightscope"

    @cached_property
    def fastapi_apps(self) -> list[dict[str, Any]]:  # type: ignore[override]
        """Our pages. Only the API server asks for them: every task's process loads plugins, and need not pay for it."""
        from nightscope_airflow.links import PREFIX
        from nightscope_airflow.views.reports import app

        return [{"name": "nightscope", "app": app, "url_prefix": PREFIX}]
