"""`<state_dir>/settings.env`: the user's own lines, then those that the embedded stack writes.

A service whose URL is set in the environment, or in the user's part of the file, is used and not started.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from pydantic import SecretStr

from tasks.config import S3Access, Settings
from tasks.private_files import write_private
from tasks.stack.layout import Layout
from tasks.stack.ports import HOST
from tasks.stack.s3 import keys as s3_keys
from tasks.stack.secrets import Secrets

URL_KEYS: Mapping[str, str] = {
    "s3": "NIGHTSCOPE_S3__ENDPOINT",
    "mlflow": "NIGHTSCOPE_MLFLOW__URL",
    "label-studio": "NIGHTSCOPE_LABEL_STUDIO__URL",
    "airflow": "NIGHTSCOPE_AIRFLOW__URL",
}
LABEL_STUDIO_USERNAME = "admin@nightscope.local"
AIRFLOW_USERNAME = "admin"
MLFLOW_USERNAME = "nightscope"
"""May change the registry: our steps. People sign in as `MLFLOW_READER`, who may only read."""
MLFLOW_READER = "reader"
MLFLOW_BUCKET = "mlflow"
_FENCE = "# ---- below: written by `nightscope up`, replaced at every start; your own settings go above ----"


def external(layout: Layout, environ: Mapping[str, str]) -> dict[str, str]:
    """Services that are there already: unit -> URL, from the environment or the user's part of `settings.env`.

    A variable that repeats what the stack itself wrote (a shell that sourced `settings.env`) does not count.
    """
    own_text, written_text = _parts(layout)
    own, written = _parse(own_text), _parse(written_text)
    upper = {key.upper(): value for key, value in environ.items()}
    found = {}
    for unit, key in URL_KEYS.items():
        url = upper.get(key) or own.get(key)
        if url and url != written.get(key):
            found[unit] = url
    return found


def with_embedded(settings: Settings, ports: Mapping[str, int], secrets: Secrets) -> Settings:
    """`settings` with the embedded services (unit -> port) in them: how everybody else reaches them."""
    urls = {unit: f"http://{HOST}:{port}" for unit, port in ports.items()}
    values: dict[str, dict[str, object]] = {
        "s3": {"access_key": secrets.s3_access_key, "secret_key": SecretStr(secrets.s3_secret_key)},
        "mlflow": {
            "username": MLFLOW_USERNAME,
            "password": SecretStr(secrets.mlflow_password),
            "reader_password": SecretStr(secrets.mlflow_reader_password),
        },
        "label-studio": {
            "username": LABEL_STUDIO_USERNAME,
            "password": SecretStr(secrets.label_studio_password),
            "token": SecretStr(secrets.label_studio_token),
        },
        "airflow": {"username": AIRFLOW_USERNAME, "password": SecretStr(secrets.airflow_password)},
    }
    changes = {}
    if "s3" in urls:
        accesses = {
            name.partition("-")[2]: S3Access(endpoint=urls[name], access_key=access, secret_key=SecretStr(secret))
            for name, (access, secret) in s3_keys(secrets).items()
            if name != "s3"
        }
        values["s3"] |= {**accesses, "mlflow_bucket": settings.s3.mlflow_bucket or MLFLOW_BUCKET}
    for unit, url in urls.items():
        if unit not in values:
            continue
        section = unit.replace("-", "_")
        own = {"endpoint" if unit == "s3" else "url": url, **values[unit]}
        changes[section] = getattr(settings, section).model_copy(update=own)
    return settings.model_copy(update=changes)


def lines(settings: Settings, units: Iterable[str]) -> dict[str, str]:
    """The settings of `units` as environment variables."""
    named: dict[str, str] = {}
    for unit in units:
        section = unit.replace("-", "_")
        for key, value in getattr(settings, section):
            if unit == "s3" and key == "landing":  # the others' keys are theirs alone
                named |= {f"NIGHTSCOPE_S3__LANDING__{name}".upper(): _text(part) for name, part in value}
            if unit == "s3" and key not in ("endpoint", "access_key", "secret_key"):
                continue  # region and buckets are the user's to choose
            if unit == "airflow" and key == "users":
                continue  # so are people
            named[f"NIGHTSCOPE_{section}__{key}".upper()] = _text(value)
    return named


def _text(value: object) -> str:
    return value.get_secret_value() if isinstance(value, SecretStr) else str(value)


def write(layout: Layout, values: Mapping[str, str]) -> None:
    """Replace the stack's part of `settings.env` (0600) and keep the user's as it is."""
    own_text, _ = _parts(layout)
    own = own_text.rstrip("\n")
    text = [*([own] if own else []), _FENCE, *(f"{key}={value}" for key, value in values.items())]
    write_private(layout.settings_env, "\n".join(text) + "\n")


def written(layout: Layout) -> dict[str, str]:
    """What the stack itself last wrote into `settings.env`."""
    return _parse(_parts(layout)[1])


def _parts(layout: Layout) -> tuple[str, str]:
    text = layout.settings_env.read_text() if layout.settings_env.exists() else ""
    own, _, generated = text.partition(_FENCE)
    return own, generated


def _parse(text: str) -> dict[str, str]:
    pairs = (line.split("=", 1) for line in text.splitlines() if "=" in line and not line.lstrip().startswith("#"))
    return {key.strip().removeprefix("export ").upper(): value.strip().strip("'\"") for key, value in pairs}
