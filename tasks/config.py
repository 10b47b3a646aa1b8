"""Settings of this installation, and the model lines.

A line is one YAML file in `dags/lines/`; reading one gives a frozen `Line`, or a `ConfigError` that lists every fault
at once. Nothing is read at import.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from tasks.errors import ConfigError
from tasks.known_kinds import place_of
from tasks.schemas import Frozen, Recording, digest
from tasks.small_yaml import read_yaml

HOME = Path(os.environ.get("NIGHTSCOPE_HOME", Path(__file__).resolve().parent.parent))
"""The folder that holds `dags/` and `expectations/`: the checkout, or `NIGHTSCOPE_HOME` where installed elsewhere."""

LARGEST = 2**53
"""Whole numbers up to here survive JSON everywhere."""

LINE_NAME = r"^[a-z][a-z0-9-]{1,48}[a-z0-9]$"
"""What a line may be called."""

DEVICE = re.compile(r"cpu|\d{1,3}|(GPU|MIG)-[A-Za-z0-9/-]{1,80}")
"""What a training may be told to run on, whole."""

_AIRFLOW_USER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}:(admin|op|user|viewer)")

MIN_GROUPS = 3
"""Groups a line needs before it can split: two to train on, one to test on."""


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


def load_settings(state_dir: Path | None = None) -> Settings:
    """Read the settings of this installation.

    Args:
        state_dir: Where the embedded stack keeps its state; default `NIGHTSCOPE_STATE_DIR`, else `<HOME>/.nightscope`.

    Raises:
        ConfigError: Naming every setting that is wrong.
    """
    where = Path(state_dir or os.environ.get("NIGHTSCOPE_STATE_DIR") or HOME / ".nightscope").resolve()
    try:
        return Settings(_env_file=where / "settings.env", state_dir=where)
    except ValidationError as error:
        raise ConfigError(f"settings ({where / 'settings.env'} and NIGHTSCOPE_*): {_faults(error)}") from error


class ClassSpec(Frozen):
    """One class of a line, as annotators see it."""

    hotkey: str | None = Field(default=None, max_length=1)
    color: str | None = None
    aliases: tuple[str, ...] = Field(default=(), description="Names this class has in foreign label files.")


class RecordingFilter(Frozen):
    """Which recordings a line learns from; empty = all."""

    studies: tuple[str, ...] = ()


class FrameSampling(Frozen):
    """Which frames of a recording are put before annotators."""

    every_s: float = Field(
        default=1.0, gt=0, allow_inf_nan=False, description="One frame every so many seconds of presentation time."
    )
    max_per_recording: int = Field(default=60, ge=1)
    near_duplicate_bits: int = Field(
        default=2,
        ge=0,
        le=64,
        description="A frame whose perceptual hash differs from the last kept one by fewer bits "
        "is left out; 0 keeps all.",
    )


class SplitPlan(Frozen):
    """What keeps together, and the fractions to aim at."""

    group: Literal["donor", "recording"] = "donor"
    train: float = Field(default=0.7, gt=0, lt=1)
    val: float = Field(default=0.15, ge=0, lt=1)
    test: float = Field(default=0.15, gt=0, lt=1)

    @model_validator(mode="after")
    def _sum_to_one(self) -> Self:
        total = self.train + self.val + self.test
        if abs(total - 1) > 1e-6:
            raise ValueError(f"train + val + test must be 1, found {total:g}")
        return self

    def group_of(self, recording: Recording) -> str:
        """The group that keeps a recording's frames in one split: its donor if known and wanted, else itself."""
        return recording.group if self.group == "donor" else f"recording:{recording.recording_id}"


class Minimums(Frozen):
    """What a dataset must have before the line trains."""

    recordings: int = Field(default=3, ge=1)
    labels: dict[str, int] = Field(default_factory=dict, description="Class -> labelled objects over all splits.")
    labels_per_split: dict[str, int] = Field(
        default_factory=dict, description="Class -> labelled objects each of train and test must hold."
    )


class Plausibility(Frozen):
    """How large a labelled object can be in this line; outside = quarantine."""

    min_side_px: float = Field(default=2.0, ge=0, allow_inf_nan=False)
    max_side_fraction: float = Field(default=0.9, gt=0, le=1, description="Longest side over the frame's.")


class RecipeChoice(BaseModel):
    """A recipe by name, and the values this line changes. The values are checked by the line's kind."""

    model_config = ConfigDict(frozen=True, extra="allow")

    name: str
    seed: int = Field(default=0, ge=0, le=2**31 - 1, strict=True)

    @property
    def changes(self) -> dict[str, Any]:
        """Everything but the name and the seed."""
        return dict(self.model_extra or {})


class EvaluationPlan(Frozen):
    """How models are compared."""

    confidence: float = Field(default=0.95, gt=0.5, lt=1, description="Of the intervals that a report shows.")
    resamples: int = Field(default=1000, ge=100, le=20_000)
    seed: int = Field(default=0, ge=0, le=LARGEST)
    small_px: float = Field(
        default=32.0, gt=0, allow_inf_nan=False, description="Objects below this side (sqrt of area) are 'small'."
    )
    large_px: float = Field(
        default=96.0, gt=0, allow_inf_nan=False, description="Objects from this side on are 'large'."
    )
    min_clusters: int = Field(
        default=5, ge=2, description="Test donors (else recordings) needed before a difference counts."
    )
    max_interval_width: float | None = Field(
        default=None,
        gt=0,
        allow_inf_nan=False,
        description="A difference whose interval is wider is insufficient data, unless it surely fails.",
    )
    score_threshold: float | None = Field(
        default=None, ge=0, le=1, description="For precision, recall, F1, counts; default: the one of highest F1."
    )


Condition = Literal["at_least", "at_most", "not_worse_by", "better_by"]
CONDITIONS: tuple[Condition, ...] = ("at_least", "at_most", "not_worse_by", "better_by")


class Gate(Frozen):
    """One condition a challenger must meet: exactly one of `CONDITIONS`, on a metric overall or in slices.

    `class: sperm` is short for `slice: class.sperm`; `for_each: [class, size]` asks for every slice of these families.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    metric: str
    class_: str | None = Field(default=None, alias="class")
    slice_: str | None = Field(default=None, alias="slice", description="'<family>.<name>', e.g. 'size.small'.")
    for_each: tuple[str, ...] = Field(default=(), description="Families ('class') or single slices ('size.small').")
    at_least: float | None = Field(default=None, allow_inf_nan=False)
    at_most: float | None = Field(default=None, allow_inf_nan=False)
    not_worse_by: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    better_by: float | None = Field(
        default=None, ge=0, allow_inf_nan=False, description="Superiority: better by more than this."
    )
    confidence: float = Field(default=0.95, gt=0.5, lt=1)
    device: str | None = Field(default=None, description="For latency and size: the device it must hold on.")

    @model_validator(mode="after")
    def _one_condition(self) -> Self:
        if sum(getattr(self, name) is not None for name in CONDITIONS) != 1:
            raise ValueError(f"gate on {self.metric}: needs exactly one of {', '.join(CONDITIONS)}")
        if sum(map(bool, (self.class_, self.slice_, self.for_each))) > 1:
            raise ValueError(f"gate on {self.metric}: only one of class, slice, for_each")
        return self

    @property
    def condition(self) -> Condition:
        """The condition's name."""
        return next(name for name in CONDITIONS if getattr(self, name) is not None)

    @property
    def threshold(self) -> float:
        """The condition's number."""
        return float(getattr(self, self.condition))

    @property
    def compares(self) -> bool:
        """Whether it compares with the champion, and so says nothing while there is none."""
        return self.condition in ("not_worse_by", "better_by")

    @property
    def where(self) -> str | None:
        """Its one slice, e.g. 'class.sperm'; None: overall, or `for_each`."""
        return f"class.{self.class_}" if self.class_ else self.slice_

    @property
    def id(self) -> str:
        """A name for reports and changes, e.g. 'AP50.sperm.at_least', 'AP50_95.each-class-size.not_worse_by'."""
        each = f"each-{'-'.join(self.for_each)}" if self.for_each else None
        return ".".join(part for part in (self.metric, self.class_ or self.slice_ or each, self.condition) if part)


class ApprovalPlan(Frozen):
    """Whether a person must agree before a challenger that passed its gates takes charge."""

    required: bool = False
    timeout_h: float = Field(default=72.0, gt=0, le=24 * 90, description="No answer by then: hold.")
    assigned_to: tuple[str, ...] = Field(
        default=(), description="Who may answer: Airflow users, 'os:1000' for a shell; empty: any who may."
    )
    four_eyes: bool = Field(
        default=False, description="Who triggered the night or the promotion cannot be the one who approves it."
    )

    @model_validator(mode="after")
    def _four_eyes_need_a_question(self) -> Self:
        if self.four_eyes and not self.required:
            raise ValueError("four_eyes: true needs required: true (nobody is asked otherwise)")
        return self

    def may_answer(self, who: str) -> bool:
        """Whether `assigned_to` lets this person ('airflow:eva', 'os:1000/alice') answer."""
        names = {name if name.startswith(("os:", "airflow:")) else f"airflow:{name}" for name in self.assigned_to}
        return not names or who in names or (who.startswith("os:") and who.partition("/")[0] in names)

    @property
    def airflow_users(self) -> tuple[str, ...]:
        """Those of `assigned_to` who answer in Airflow."""
        return tuple(name.removeprefix("airflow:") for name in self.assigned_to if not name.startswith("os:"))


class AnnotatorChoice(Frozen):
    """Whose work counts where several people labelled one frame. Nothing is merged.

    Ground truth comes first, then what a reviewer accepted (and last what one rejected), then these names, then `else`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    prefer: tuple[str, ...] = Field(
        default=(), description="People as Label Studio names them (their e-mail address), the most trusted first."
    )
    else_: Literal["newest"] = Field(default="newest", alias="else", description="Among all others: the newest work.")

    def rank_of(self, annotator: str) -> int:
        """How much somebody's work is preferred; 0: not by name."""
        names = [name.strip().casefold() for name in self.prefer]
        wanted = annotator.strip().casefold()
        return len(names) - names.index(wanted) if wanted in names else 0


class Line(Frozen):
    """A model line: what it learns from, how it trains, which gates it must pass, when it runs."""

    line: str = Field(pattern=LINE_NAME)
    title: str = ""
    kind: str = Field(description="What the line learns, e.g. detection; a kind that is there.")
    classes: dict[str, ClassSpec] = Field(min_length=1)
    schedule: str | None = Field(default=None, description="Cron, UTC; none = on demand only.")
    recordings: RecordingFilter = RecordingFilter()
    annotators: AnnotatorChoice = AnnotatorChoice()
    frames: FrameSampling = FrameSampling()
    splits: SplitPlan = SplitPlan()
    minimums: Minimums = Minimums()
    plausible: Plausibility = Plausibility()
    recipe: RecipeChoice
    max_training_h: float = Field(
        default=24.0, gt=0, le=24 * 31, description="A training that takes longer is ended; its checkpoints are kept."
    )
    evaluation: EvaluationPlan = EvaluationPlan()
    gates: tuple[Gate, ...] = Field(min_length=1)
    approval: ApprovalPlan = Field(default=ApprovalPlan(), description="'none', 'required', or a plan's keys.")
    intended_use: str = Field(default="", description="For the model card: what the model is for, and what not.")

    @field_validator("kind")
    @classmethod
    def _kind_is_there(cls, value: str) -> str:
        try:
            return place_of(value).name
        except ConfigError as error:
            raise ValueError(str(error)) from error

    @field_validator("classes", mode="before")
    @classmethod
    def _bare_class_names(cls, value: Any) -> Any:
        """`classes: [a, b]` and `a:` (nothing after it) are welcome too."""
        if isinstance(value, list):
            return {name: {} for name in value}
        return {name: spec or {} for name, spec in value.items()} if isinstance(value, dict) else value

    @field_validator("approval", mode="before")
    @classmethod
    def _approval_in_a_word(cls, value: Any) -> Any:
        """`approval: none` and `approval: required`."""
        words = {"none": False, "required": True}
        if isinstance(value, str) and value not in words:
            raise ValueError(f"expected none, required, or required/timeout_h/assigned_to; found {value!r}")
        return {"required": words[value]} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _names_are_known(self) -> Self:
        named = [("minimums", n) for n in (*self.minimums.labels, *self.minimums.labels_per_split)]
        named += [(f"gate {gate.id}", gate.class_) for gate in self.gates if gate.class_]
        unknown = [f"{where} names the class {name!r}" for where, name in named if name not in self.classes]
        ids = [gate.id for gate in self.gates]
        unknown += [f"gate {i} is there twice" for i in sorted(set(ids)) if ids.count(i) > 1]
        superior = [gate.id for gate in self.gates if gate.condition == "better_by"]
        if len(superior) > 1:
            unknown.append(f"{' and '.join(superior)}: superiority is asked of one metric only, chosen beforehand")
        if unknown:
            raise ValueError(f"{'; '.join(unknown)} (classes: {', '.join(self.classes)})")
        return self

    def dag_id_of(self, what: str) -> str:
        """One of the line's DAGs, e.g. 'retrain_sperm_detector'."""
        return dag_id_of(what, self.line)

    @property
    def dag_id(self) -> str:
        """The line's night."""
        return self.dag_id_of("retrain")

    def class_named(self, name: str) -> str | None:
        """The class that a foreign label name means: by name or alias, ignoring case; None if there is none."""
        wanted = name.strip().casefold()
        for own, spec in self.classes.items():
            if wanted in {own.casefold(), *(alias.casefold() for alias in spec.aliases)}:
                return own
        return None

    def fingerprint(self) -> str:
        """Digest of the whole configuration: changes whenever the line does, but not with how long it may take."""
        return digest(self.model_dump(mode="json", by_alias=True, exclude={"max_training_h"}))

    def with_changes(self, changes: Mapping[str, Any]) -> Line:
        """This line as one run wants it.

        Args:
            changes: `recipe` (name), `seed`, `gate.<gate id>` (a threshold), `evaluation.<key>`, any other key is a
                recipe value (`epochs`, `imgsz`, ...), checked by the line's kind.

        Raises:
            ConfigError: A gate that the line does not have, or a value that is none.
        """
        data = self.model_dump(mode="json", by_alias=True, exclude_none=True)
        faults = []
        for key, value in changes.items():
            if isinstance(value, int) and abs(value) > LARGEST:
                faults.append(f"{key}: expected at most {LARGEST}, found a huge number")
            elif key == "name":
                faults.append("name: cannot be set, say recipe=<name>")
            elif isinstance(value, bool) and key.startswith(("gate.", "evaluation.")):
                faults.append(f"{key}: expected a number, found {str(value).lower()}")
            elif key == "recipe":
                data["recipe"]["name"] = value
            elif key.startswith("gate."):
                faults += _change_gate(data["gates"], self.gates, key.removeprefix("gate."), value)
            elif key.startswith("evaluation."):
                data["evaluation"][key.removeprefix("evaluation.")] = value
            else:
                data["recipe"][key] = value
        if faults:
            raise ConfigError(f"line {self.line}: {'; '.join(faults)}", expected=", ".join(g.id for g in self.gates))
        return parse_line(data, f"line {self.line} with changes")


def dag_id_of(what: str, line: str) -> str:
    """The id of a line's DAG, also where the line's file is too broken to make a `Line`."""
    return f"{what}_{re.sub('[^A-Za-z0-9_.]', '_', line)}"


def _change_gate(data: list[dict[str, Any]], gates: Iterable[Gate], gate_id: str, value: Any) -> list[str]:
    for entry, gate in zip(data, gates, strict=True):
        if gate.id == gate_id:
            entry[gate.condition] = value
            return []
    return [f"no gate {gate_id!r}"]


def _faults(error: ValidationError) -> str:
    return "; ".join(
        f"{'.'.join(str(part) for part in fault['loc']) or 'file'}: {fault['msg'].removeprefix('Value error, ')}"
        for fault in error.errors()
    )


def parse_line(data: Any, source: str) -> Line:
    """Turn a line's YAML data into a `Line`, or list every fault.

    Raises:
        ConfigError: Naming `source` and all faults at once.
    """
    try:
        return Line.model_validate(data)
    except ValidationError as error:
        raise ConfigError(
            f"{source}: {_faults(error)}", fix="see dags/lines/sperm-detector.yaml for the shape"
        ) from error


def load_line(name: str, lines_dir: Path) -> Line:
    """Read one line by name.

    Raises:
        ConfigError: No such line, or its YAML is wrong.
    """
    path = lines_dir / f"{name}.yaml"
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in lines_dir.glob("*.yaml"))) or "none"
        raise ConfigError(
            f"line {name!r}: no such line", expected=f"one of: {known}", fix=f"add {path} or name another"
        )
    return _read_line(path)


def load_lines(lines_dir: Path) -> tuple[Line, ...]:
    """Read every line, sorted by name.

    Raises:
        ConfigError: Listing the faults of all files at once.
    """
    lines, faults = [], []
    for path in sorted(lines_dir.glob("*.yaml")):
        try:
            lines.append(_read_line(path))
        except ConfigError as error:
            faults.append(str(error))
    if faults:
        raise ConfigError(" | ".join(faults))
    return tuple(lines)


def _read_line(path: Path) -> Line:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}", expected="a text file in UTF-8") from error
    line = parse_line(read_yaml(text, str(path)), str(path))
    if line.line != path.stem:
        raise ConfigError(f"{path}: line: {line.line!r}", expected=f"the file's name, {path.stem!r}")
    return line
