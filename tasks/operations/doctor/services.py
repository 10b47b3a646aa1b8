"""Services: up, listening where they should, answering, and asking for a login."""

from __future__ import annotations

from collections.abc import Iterator

import httpx

from tasks.operations.doctor.findings import Finding, check, ok, unknown, warning, wrong
from tasks.operations.doctor.patient import Patient
from tasks.stack import ports
from tasks.stack.health import get
from tasks.stack.processes import holds, marked
from tasks.stack.settings_file import URL_KEYS
from tasks.stack.status import ServiceStatus, service_names

PATIENCE_S = 30.0
"""A machine that trains answers late."""
_HEALTH = {"mlflow": "/health", "label-studio": "/health", "airflow": "/api/v2/monitor/health", "s3": "/"}
_FIX = {
    "orphaned": "its process manager was killed: nightscope down, then nightscope up",
    "starting": "wait for it; if it stays so, look into its log",
    "backoff": "it dies and is started again: look into its log",
    "fatal": "it was given up: look into its log, then nightscope up",
}


@check("services.up")
def up(patient: Patient) -> Iterator[Finding]:
    """Every service is up."""
    known = ports.remembered(patient.layout)
    for unit, key in URL_KEYS.items():
        if unit not in patient.external and unit not in known:
            yield wrong(f"{unit}: there is none, neither embedded nor by URL", f"nightscope up, or set {key}")
            continue
        members = {unit, *service_names(unit)}
        for service in (each for each in patient.services if each.name in members):
            yield _state(patient, service)


def _state(patient: Patient, service: ServiceStatus) -> Finding:
    if service.state in ("running", "external"):
        return ok(f"{service.name}: {service.state}{f' at {service.url}' if service.url else ''}")
    if service.state == "unreachable":
        return wrong(f"{service.name}: nothing answers at {service.url}", "start it, or correct its URL")
    log = patient.layout.log(service.name)
    return wrong(f"{service.name}: is {service.state}", f"{_FIX.get(service.state, 'nightscope up')} ({log})")


@check("services.answer")
def answer(patient: Patient) -> Iterator[Finding]:
    """What listens answers, and is healthy by its own account."""
    for unit, path in _HEALTH.items():
        url = _url(patient, unit)
        if not url or not _is_up(patient, unit):
            continue  # said above
        body = get(f"{url.rstrip('/')}{path}", PATIENCE_S)
        if body is None:
            yield wrong(f"{unit}: listens at {url}, and does not answer {path}", f"look into its log; restart {unit}")
        else:
            yield ok(f"{unit}: answers at {url}")


@check("services.ports")
def stolen_ports(patient: Patient) -> Iterator[Finding]:
    """No stranger sits on a port of ours, and nothing of ours listens to the network."""
    if set(URL_KEYS) <= patient.external.keys():
        return
    for name, port in ports.remembered(patient.layout).items():
        unit = name if name in URL_KEYS else "s3"
        if unit not in patient.external and not ports.is_free(port) and not holds(port, patient.layout.marker):
            yield wrong(f"port {port} of {name} is held by another program",
                        "end it, or nightscope down and nightscope up: another port is taken then")  # fmt: skip
    open_to_all = sorted(
        {
            f"{each.service} (port {found.laddr.port})"
            for each in marked(patient.layout.marker)
            for found in each.process.net_connections(kind="tcp")
            if found.status == "LISTEN" and found.laddr.ip not in ("127.0.0.1", "::1", "::ffff:127.0.0.1")
        }
    )
    for each in open_to_all:
        yield wrong(f"{each} listens to the network, not to 127.0.0.1 only", "nightscope down, then nightscope up")
    if not open_to_all:
        yield ok("what runs of ours listens on 127.0.0.1 only")


_CLOSED = {"airflow": "/api/v2/dags", "label-studio": "/api/projects/", "mlflow": "/api/2.0/mlflow/users/get"}


@check("services.login")
def login(patient: Patient) -> Iterator[Finding]:
    """Nobody gets in without a login."""
    for unit, path in _CLOSED.items():
        url = _url(patient, unit)
        if not url or not _is_up(patient, unit):
            continue
        try:
            status = httpx.get(f"{url.rstrip('/')}{path}", timeout=20, trust_env=False).status_code
        except httpx.HTTPError as error:
            yield unknown(f"{unit}: could not be asked without a login ({type(error).__name__})")
            continue
        if status in (401, 403):
            yield ok(f"{unit}: asks for a login")
        elif status < 400:
            yield wrong(f"{unit}: lets anybody in, at {url}", "switch its login on; SECURITY.md has what is promised")
        else:
            yield warning(f"{unit}: answers {status} to who has no login", "look into its log")


def _url(patient: Patient, unit: str) -> str:
    settings = patient.settings
    return settings.s3.endpoint if unit == "s3" else str(getattr(settings, unit.replace("-", "_")).url)


def _is_up(patient: Patient, unit: str) -> bool:
    names = {unit, service_names(unit)[0]}
    return any(each.name in names and each.state in ("running", "external") for each in patient.services)
