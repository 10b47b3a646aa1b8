"""How we speak to MLflow: quickly refused rather than long awaited, silent about us, its errors in our words."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from tasks.errors import ConfigError, DataError, NotFound, ServiceUnavailable

if TYPE_CHECKING:
    from mlflow import MlflowClient

PATIENCE = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "0",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_RECORD_ENV_VARS_IN_MODEL_LOGGING": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "GIT_PYTHON_REFRESH": "quiet",
}
"""MLflow waits 120 s and tries 7 times by default: a step would hang for minutes where Airflow's own retry is due.
What is set in the environment goes first."""


def connect(url: str, username: str = "", password: str = "") -> MlflowClient:
    """A client of the tracking server and registry at `url`, signed in as a user; without one, as before or nobody.

    Raises:
        ConfigError: No URL is configured.
    """
    if not url:
        raise ConfigError("MLflow has no URL", fix="start the stack (nightscope up) or set NIGHTSCOPE_MLFLOW__URL")
    for name, value in PATIENCE.items():
        os.environ.setdefault(name, value)
    from mlflow import MlflowClient

    from tasks.registry import login

    os.environ["MLFLOW_TRACKING_AUTH"] = login.PROVIDER
    if username:
        login.remember(url, username, password)
    logging.getLogger("mlflow").setLevel(logging.WARNING)
    logging.getLogger("mlflow.utils.environment").setLevel(logging.ERROR)  # uv's environments have no pip
    return MlflowClient(tracking_uri=url, registry_uri=url)


@contextmanager
def speaking(url: str, about: str) -> Iterator[None]:
    """Translate what goes wrong while speaking to MLflow `about` something.

    Raises:
        NotFound: MLflow knows no such thing.
        DataError: MLflow refuses what it was told.
        ConfigError: MLflow refuses our login.
        ServiceUnavailable: It did not answer, or not properly.
    """
    from mlflow.exceptions import MlflowException
    from requests.exceptions import RequestException

    try:
        yield
    except MlflowException as error:
        code = error.error_code
        if code in {"PERMISSION_DENIED", "UNAUTHENTICATED"} or error.get_http_status_code() in (401, 403):
            raise _refused(url, about) from error
        if code == "RESOURCE_DOES_NOT_EXIST":
            raise NotFound(f"MLflow: {about}: {error.message}") from error
        if code in {"INVALID_PARAMETER_VALUE", "RESOURCE_ALREADY_EXISTS", "BAD_REQUEST", "INVALID_STATE"}:
            raise DataError(f"MLflow refuses {about}: {error.message}") from error
        raise _unavailable(url, about, error) from error
    except (RequestException, ConnectionError, TimeoutError) as error:
        raise _unavailable(url, about, error) from error


def _refused(url: str, about: str) -> ConfigError:
    return ConfigError(
        f"MLflow at {url} refuses us: {about}",
        expected="a user who may change the registry",
        fix="set NIGHTSCOPE_MLFLOW__USERNAME and NIGHTSCOPE_MLFLOW__PASSWORD",
    )


def _unavailable(url: str, about: str, error: Exception) -> ServiceUnavailable:
    found = str(error).splitlines()[0][:300] if str(error) else type(error).__name__
    return ServiceUnavailable(f"MLflow at {url}: {about}", found=found, fix="see `nightscope status`; try again later")


def quoted(value: Any) -> str:
    """A value for MLflow's filter language, which knows no escapes: ours are hashes and plain names."""
    text = str(value)
    if "'" in text:
        raise DataError(f"{text!r} cannot be searched for in MLflow: it holds a quote")
    return f"'{text}'"
