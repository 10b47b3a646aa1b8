"""Settings of this installation: where its services are, and what may be asked of this machine."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from tasks.config.faults import in_words
from tasks.config.limits import DEVICE
from tasks.errors import ConfigError

HOME = Path(os.environ.get("NIGHTSCOPE_HOME", Path(__file__).resolve().parents[2]))
"""The folder that holds `dags/` and `expectations/`: the checkout, or `NIGHTSCOPE_HOME` where installed elsewhere."""

_AIRFLOW_USER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}:(admin|op|user|viewer)")


class S3Access(BaseModel):
    """Keys of their own for one purpose, perhaps at another server; what is empty is as for the lake."""

    endpoint: str = ""
    access_key: str = ""
    secret_key: SecretStr = SecretStr("")


class S3Settings(BaseModel):
    """Where the lake is. `endpoint` empty = not configured (the embedded stack writes it).

    `access_key` opens the lake's bucket and the frames' bucket. Where keys are kept apart, `landing` opens the landing
    bucket only, `mlflow` MLflow's artifacts only (for MLflow), `frames` reads the frames' bucket (for Label Studio).
    """

    endpoint: str = Field(default="", description="URL, e.g. http://127.0.0.1:9000")
    access_key: str = ""
    secret_key: SecretStr = SecretStr("")
    region: str = "us-east-1"
    landing_bucket: str = "landing"
    lake_bucket: str = "lake"
    frames_bucket: str = Field(default="frames", description="Copies of the frames that annotators see.")
    mlflow_bucket: str = Field(default="", description="MLflow's artifacts; empty: below mlflow/ in the lake's bucket.")
    landing: S3Access = S3Access()
    mlflow: S3Access = S3Access()
    frames: S3Access = S3Access()

    def by(self, access: S3Access) -> S3Settings:
        """These settings, with the keys of one purpose."""
        given = {name: value for name, value in access if value and value != SecretStr("")}
        return self.model_copy(update=given)


class LabelStudioSettings(BaseModel):
    """Where Label Studio is, and as whom we speak to it (`token`: legacy or personal)."""

    url: str = ""
    username: str = "admin@nightscope.local"
    password: SecretStr = SecretStr("")
    token: SecretStr = SecretStr("")


class AirflowSettings(BaseModel):
    """Where Airflow's REST API is, and as whom we speak to it.

    `users` are the people who log in beside that user, so that an approval carries a name: 'ana:op,ben:viewer'.
    """

    url: str = ""
    username: str = "admin"
    password: SecretStr = SecretStr("")
    users: str = Field(default="", description="name:role, ...; role one of admin, op, user, viewer")

    @field_validator("users")
    @classmethod
    def _are_users(cls, text: str) -> str:
        entries = _entries(text)
        wrong = [entry for entry in entries if not _AIRFLOW_USER.fullmatch(entry)]
        if wrong:
            raise ValueError(f"{wrong[0][:80]!r} is no 'name:role' with a role of admin, op, user, viewer")
        if len({entry.partition(":")[0] for entry in entries}) < len(entries):
            raise ValueError("a name stands twice")
        return text

    @model_validator(mode="after")
    def _are_others(self) -> Self:
        if self.username in self.people:
            raise ValueError(f"users: {self.username!r} is the stack's own user; give the person another name")
        return self

    @property
    def people(self) -> dict[str, str]:
        """Name -> role of `users`."""
        return {name: role for name, _, role in (entry.partition(":") for entry in _entries(self.users))}


def _entries(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


class MlflowSettings(BaseModel):
    """Where the MLflow tracking server and registry are, and as whom we speak to it (empty: it asks for no login)."""

    url: str = ""
    username: str = ""
    password: SecretStr = SecretStr("")
    reader_password: SecretStr = Field(default=SecretStr(""), description="Of the user `reader`: people who look.")


class IngestLimits(BaseModel):
    """What one recording may ask of this machine; beyond it goes to quarantine, with the reason, and the night goes on.

    The defaults are far above what microscopes record, and far below what stops a machine.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    deadline_s: float = Field(default=300.0, gt=0, description="Time to read a recording in, at least.")
    deadline_s_per_mb: float = Field(default=5.0, ge=0, description="More time for each MB of the file.")
    memory_mb: int = Field(default=4096, ge=256, description="Memory of the process that decodes.")
    picture_mpx: float = Field(default=120.0, gt=0, description="Million pixels of one picture.")
    recording_gpx: float = Field(default=5000.0, gt=0, description="Thousand million pixels of a whole recording.")
    pictures: int = Field(default=500_000, ge=1, description="Pages of a stack, or pictures of a folder.")
    expansion: int = Field(default=300, ge=1, description="Bytes that a stack or folder may hold for each of its own.")
    file_gb: float = Field(default=100.0, gt=0, description="Size of the file itself.")

    def deadline_of(self, size_bytes: int) -> float:
        """Seconds in which a file of this size must be read."""
        return self.deadline_s + self.deadline_s_per_mb * size_bytes / 1e6


class ServeSettings(BaseModel):
    """What one request to `nightscope serve` may ask of this machine; beyond it is refused, and the service goes on."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_mb: float = Field(default=32.0, gt=0, description="Size of an upload, in 10^6 bytes.")
    max_mpx: float = Field(default=50.0, gt=0, description="Million pixels of a picture.")
    memory_mb: int = Field(default=2048, ge=256, description="Memory of a process that decodes pictures.")
    at_once: int = Field(default=8, ge=1, description="Requests at work or waiting; more are asked to come again.")
    upload_s: float = Field(default=60.0, gt=0, description="Time in which an upload must have arrived.")
    decode_s: float = Field(default=30.0, gt=0, description="Time in which a picture must be decoded.")
    check_every_s: float = Field(default=15.0, gt=0, description="How often it looks for a new champion.")


class LocalSpaceSettings(BaseModel):
    """How long this machine keeps what it can make again (caches, layouts of datasets), and how much of it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    keep_days: float = Field(default=30.0, ge=1, description="What was not used for so long goes.")
    most_gb: float | None = Field(
        default=None, ge=0, description="The least recently used goes until the rest is under it (10^9 bytes)."
    )


class CatalogSettings(BaseModel):
    """The Iceberg catalog that says which state each table is in: any kind that PyIceberg can load.

    `properties` are PyIceberg's own for that kind, as JSON: '{"token": "...", "warehouse": "lake"}' for a REST catalog,
    '{"glue.region": "eu-central-1"}' for Glue. Their values are treated as secrets.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    type: Literal["sql", "rest", "glue", "hive", "dynamodb", "bigquery"] = "sql"
    name: str = Field(default="nightscope", min_length=1)
    namespace: str = Field(
        default="nightscope", pattern=r"^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$", description="Where the tables are in it."
    )
    uri: SecretStr = Field(
        default=SecretStr(""),
        description="URL of a REST or Hive catalog, or SQLAlchemy's of a database; empty with 'sql': SQLite in the"
        " state folder.",
    )
    properties: dict[str, SecretStr] = Field(default_factory=dict)
    keep_snapshots_days: float = Field(
        default=30.0, ge=1, description="For how long a table can be read as it was; what a dataset names stays."
    )


class LocksSettings(BaseModel):
    """Where the locks of the whole installation are; what is of one machine is always locked by files on it.

    With more than one machine the locks must be in PostgreSQL (14 or later), reached directly or by a proxy that keeps
    a session: not PgBouncer's pooling by transaction or statement.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    uri: SecretStr = Field(
        default=SecretStr(""),
        description="postgresql://user:password@host/database, the same on every machine; empty: files in the state"
        " folder, for one machine.",
    )
    grace_s: float = Field(
        default=10.0,
        ge=0,
        description="How long a lock rests after a holder that did not give it back, so that its last write ends.",
    )

    @field_validator("uri")
    @classmethod
    def _is_postgresql(cls, uri: SecretStr) -> SecretStr:
        scheme = uri.get_secret_value().partition("://")[0]
        if uri.get_secret_value() and scheme.partition("+")[0] not in ("postgresql", "postgres"):
            raise ValueError("is not the URL of a PostgreSQL database: postgresql://user:password@host/database")
        return uri


class SigningSettings(BaseModel):
    """Where the keys are by which evidence and orders are signed. Never in S3; empty = `<state_dir>/keys`."""

    private_key: Path | None = Field(default=None, description="PEM (PKCS 8), Ed25519, for its owner only.")
    trusted_keys: Path | None = Field(default=None, description="Public keys that are believed; JSON.")
    heads: Path | None = Field(default=None, description="How far each line's evidence had come, as seen here; JSON.")


class Settings(BaseSettings):
    """This installation: environment (`NIGHTSCOPE_S3__ENDPOINT=...`) over `<state_dir>/settings.env` over defaults."""

    model_config = SettingsConfigDict(env_prefix="NIGHTSCOPE_", env_nested_delimiter="__", extra="ignore")

    state_dir: Path = Path(".nightscope")
    lines_dir: Path = HOME / "dags" / "lines"
    expectations_dir: Path = HOME / "expectations"
    catalog: CatalogSettings = CatalogSettings()
    catalog_uri: str = Field(default="", repr=False, description="The same as catalog.uri, for a database.")
    locks: LocksSettings = LocksSettings()
    workers: int = Field(default=2, ge=1, description="Recordings decoded side by side, and parallel transfers.")
    ingest: IngestLimits = IngestLimits()
    devices: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(), description="Devices to train and evaluate on: '0,1', GPU UUIDs, or 'cpu'; empty: all there are."
    )
    s3: S3Settings = S3Settings()
    label_studio: LabelStudioSettings = LabelStudioSettings()
    airflow: AirflowSettings = AirflowSettings()
    mlflow: MlflowSettings = MlflowSettings()
    signing: SigningSettings = SigningSettings()
    serve: ServeSettings = ServeSettings()
    local_space: LocalSpaceSettings = LocalSpaceSettings()

    @property
    def only_brings(self) -> bool:
        """Whether this machine only brings recordings: it holds the landing bucket's key, and none of the lake."""
        return bool(self.s3.landing.access_key) and not self.s3.access_key

    @property
    def signing_key(self) -> Path:
        """The private key that signs; made on first use."""
        return self.signing.private_key or self.state_dir / "keys" / "signing-key.pem"

    @property
    def trusted_keys(self) -> Path:
        """The public keys that are believed."""
        return self.signing.trusted_keys or self.state_dir / "keys" / "trusted-keys.json"

    @property
    def heads(self) -> Path:
        """The newest evidence of each line that this machine has seen."""
        return self.signing.heads or self.state_dir / "keys" / "heads.json"

    @field_validator("devices", mode="before")
    @classmethod
    def _devices_in_a_row(cls, value: Any) -> Any:
        """`NIGHTSCOPE_DEVICES=0,1`."""
        parts = value.split(",") if isinstance(value, str) else value
        devices = tuple(str(part).strip() for part in parts if str(part).strip())
        odd = [device for device in devices if not DEVICE.fullmatch(device)]
        if odd or len(set(devices)) < len(devices) or ("cpu" in devices and len(devices) > 1):
            raise ValueError(f"expected GPU numbers or UUIDs, each once, or cpu; found {value!r}")
        return devices

    @property
    def cache_dir(self) -> Path:
        """Local cache of blobs; never the truth, may be deleted at any time."""
        return self.state_dir / "cache"

    @property
    def work_dir(self) -> Path:
        """Scratch of steps (materialised datasets, running trainings); may be deleted when nothing runs."""
        return self.state_dir / "work"

    @property
    def iceberg_uri(self) -> str:
        """The Iceberg catalog's URL; empty where its kind needs none (Glue)."""
        given = self.catalog.uri.get_secret_value()
        if self.catalog.type != "sql":
            return given
        return given or self.catalog_uri or f"sqlite:///{self.state_dir.resolve()}/catalog.db"


def state_folder() -> Path:
    """Where this installation keeps its state, absolute.

    `NIGHTSCOPE_STATE_DIR`; else `.nightscope` in the checkout; else, of a package that was installed without one,
    `nightscope` in the user's folder of states (`XDG_STATE_HOME`, `~/.local/state`).
    """
    if named := os.environ.get("NIGHTSCOPE_STATE_DIR"):
        return Path(named).resolve()
    if "NIGHTSCOPE_HOME" in os.environ or (HOME / "dags").is_dir():
        return (HOME / ".nightscope").resolve()
    return (Path(os.environ.get("XDG_STATE_HOME") or "~/.local/state").expanduser() / "nightscope").resolve()


def load_settings(state_dir: Path | None = None) -> Settings:
    """Read the settings of this installation.

    Args:
        state_dir: Where the embedded stack keeps its state; default `state_folder()`.

    Raises:
        ConfigError: Naming every setting that is wrong.
    """
    where = Path(state_dir).resolve() if state_dir else state_folder()
    try:
        return Settings(_env_file=where / "settings.env", state_dir=where)
    except ValidationError as error:
        raise ConfigError(f"settings ({where / 'settings.env'} and NIGHTSCOPE_*): {in_words(error)}") from error
