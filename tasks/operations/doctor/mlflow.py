"""MLflow: the registry's logins, and whether aliases mean versions that are there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import httpx

from tasks.config import MlflowSettings
from tasks.errors import ConfigError, DataError
from tasks.operations.doctor.findings import Finding, check, ok, unknown, warning, wrong
from tasks.operations.doctor.patient import Patient
from tasks.stack.settings_file import MLFLOW_READER

_TAG = "/api/2.0/mlflow/runs/set-tag"
_NO_RUN = {"run_id": "0" * 32, "key": "doctor", "value": "asks"}
"""What who may change MLflow is told: no such run. Nothing is changed either way."""
_SEARCH = "/api/2.0/mlflow/experiments/search"
_ALIASES = ("champion", "previous", "challenger")


@check("mlflow.login")
def login(patient: Patient) -> Iterator[Finding]:
    """The nights' user may change the registry."""
    own = patient.settings.mlflow
    if not own.url:
        return
    if not own.username:
        yield warning(f"MLflow at {own.url} is spoken to without a login", "set NIGHTSCOPE_MLFLOW__USERNAME, _PASSWORD")
        return
    status = _status(own, own.username, own.password.get_secret_value(), _TAG, _NO_RUN)
    if status == 404:
        yield ok(f"user {own.username!r} may change it")
    elif status in (401, 403):
        yield wrong(f"MLflow at {own.url} refuses user {own.username!r} ({status})",
                    "check NIGHTSCOPE_MLFLOW__USERNAME and NIGHTSCOPE_MLFLOW__PASSWORD")  # fmt: skip
    else:
        yield unknown(f"MLflow at {own.url} answers {status}", "look into its log")


@check("mlflow.reader")
def reader(patient: Patient) -> Iterator[Finding]:
    """People's user may look, and change nothing."""
    own = patient.settings.mlflow
    password = own.reader_password.get_secret_value()
    if not own.url or not password:
        return
    looks = _status(own, MLFLOW_READER, password, _SEARCH, {"max_results": 1})
    changes = _status(own, MLFLOW_READER, password, _TAG, _NO_RUN)
    if looks in (401, 403):
        yield wrong(f"user {MLFLOW_READER!r} is not let in ({looks})", "nightscope down, then nightscope up")
    elif changes not in (401, 403):
        yield wrong(f"user {MLFLOW_READER!r} may change runs (it was answered {changes})",
                    "take its permissions away in MLflow; it is to read only")  # fmt: skip
    else:
        yield ok(f"user {MLFLOW_READER!r} reads only")


@check("mlflow.aliases")
def aliases(patient: Patient) -> Iterator[Finding]:
    """The registry answers, and each alias of a line means a version of ours. `nightscope verify` compares them."""
    if not patient.settings.mlflow.url:
        return
    registry, good = patient.session.registry, []
    for name in patient.session.line_names():
        try:
            meant = {alias: registry.aliased(name, alias) for alias in _ALIASES}
        except ConfigError as error:
            yield wrong(error.thing, error.fix or "check NIGHTSCOPE_MLFLOW__*")
            return
        except DataError as error:
            yield wrong(error.thing, error.fix or f"nightscope verify {name}")
            continue
        champion = meant["champion"]
        good.append(f"{name} {champion.version if champion else '–'}")
    if good:
        yield ok(f"champions: {', '.join(good)}")


def _status(settings: MlflowSettings, user: str, password: str, path: str, body: Mapping[str, object]) -> int:
    """The status of an answer to a user; -1 where none came."""
    try:
        answer = httpx.post(f"{settings.url.rstrip('/')}{path}", json=body, auth=(user, password), timeout=30,
                            trust_env=False)  # fmt: skip
    except httpx.HTTPError:
        return -1
    return answer.status_code
