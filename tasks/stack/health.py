"""Whether a service is up, and ours: its answer counts only if the listener is that very process."""

from __future__ import annotations

import json
import socket
import urllib.error
import urllib.request
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from tasks.stack.ports import HOST
from tasks.stack.processes import family_holds
from tasks.stack.service import Service

_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))
# Airflow's own word for a process without a port -> where the API server's health report tells of it.
_REPORTED = {
    "airflow-scheduler": ("scheduler", "latest_scheduler_heartbeat"),
    "airflow-dag-processor": ("dag_processor", "latest_dag_processor_heartbeat"),
    "airflow-triggerer": ("triggerer", "latest_triggerer_heartbeat"),
}


def serves(service: Service, pid: int) -> bool:
    """Whether a listening service answers its health path: its process `pid` or a child does, and no stranger."""
    if service.port is None or service.health_path is None:
        return False
    if not _connects(HOST, service.port) or not family_holds(service.port, pid):
        return False
    return get(f"{service.url}{service.health_path}") is not None


def beats(service: Service, api_url: str, health_path: str, since: datetime) -> bool:
    """Whether Airflow's API server has a heartbeat of `service` that is younger than its start.

    The report alone would not do: it calls heartbeats of up to 30 s ago healthy, the predecessor's included.
    """
    body = get(f"{api_url}{health_path}")
    if not body:
        return False
    part, heartbeat = _REPORTED[service.name]
    try:
        report: dict[str, Any] = json.loads(body).get(part) or {}
        last = report.get(heartbeat)
        return bool(report.get("status") == "healthy" and last and datetime.fromisoformat(last) >= since)
    except (ValueError, TypeError, AttributeError):
        return False


def reachable(url: str) -> bool:
    """Whether something listens where an external service's URL points."""
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return bool(parts.hostname) and _connects(str(parts.hostname), port)


def get(url: str, timeout_s: float = 5) -> bytes | None:
    """The body of an answer below 500, else None. S3 refuses strangers with 400 or 403: that is an answer."""
    try:
        with _DIRECT.open(url, timeout=timeout_s) as answer:
            return bytes(answer.read())
    except urllib.error.HTTPError as error:
        with error:
            return error.read() if error.code < 500 else None
    except (OSError, ValueError):
        return None


def _connects(host: str, port: int) -> bool:
    try:
        with socket.create_connection((host, port), timeout=2):
            return True
    except OSError:
        return False
