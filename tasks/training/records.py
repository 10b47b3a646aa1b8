"""What trainings leave in the lake, and where.

    checkpoints/<run_key>/latest.json   the newest checkpoint: its blob, epoch, and the history so far
    runs/<run_key>/trained.json         a finished training: weights, history, what was seen; written after its blobs
    runs/<run_key>/result.json          the same, logged and registered in MLflow: written last of all
    versions/<line>/<version>.json      which training a model version came from; written before result.json
    runs/<run_key>/twin.json            which training has the weights of this one, that differs in predict options only

Each is written after everything it names: its existence means that all of it is there. Each is signed, for its key,
as it decides which weights are loaded: what somebody else wrote there is never loaded.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

from pydantic import Field, ValidationError

from tasks.errors import IntegrityError, SignatureError
from tasks.lake import Lake
from tasks.lake.signed import Statement, before_signing, check, sign
from tasks.registry import ModelRecord
from tasks.registry.runs import EpochMetrics
from tasks.schemas import Frozen, Oid, Signature, canonical_json
from tasks.training.recorded import named_by_evidence

log = logging.getLogger(__name__)

R = TypeVar("R", bound=Frozen)


class Checkpoint(Frozen):
    """A point that a training can go on from."""

    oid: Oid
    epoch: int = Field(ge=1, description="Epochs finished.")
    history: tuple[EpochMetrics, ...]
    setup: dict[str, Any] = Field(description="The worker's event `started`.")
    nondeterministic: tuple[str, ...] = ()
    files: dict[str, Oid] = Field(
        default_factory=dict, description="Pictures of the training so far, by the name MLflow will show."
    )


class Trained(Frozen):
    """A finished training, complete without MLflow."""

    run_key: str
    line: str
    dataset_version: str
    recipe: dict[str, Any]
    seed: int
    code_version: str
    git_commit: str | None
    git_dirty: bool | None = Field(default=None, description="Whether files differed from the commit.")
    lock_sha256: Oid | None = Field(default=None, description="Of uv.lock: every library, exactly.")
    libraries: dict[str, str]
    hardware: dict[str, Any]
    setup: dict[str, Any] = Field(description="What the worker made of the recipe: epochs, parameters, imgsz, ...")
    classes: tuple[str, ...] = Field(
        default=(), description="Of the line, in order. Empty: of a time before this field."
    )
    weights_oid: Oid
    checkpoint_oid: Oid | None = Field(
        default=None, description="After the last epoch, optimizer and all: what could be gone on from."
    )
    nondeterministic: tuple[str, ...] = Field(
        default=(), description="Operations that another training of this run key may not repeat to the bit."
    )
    epochs: int
    steps: int
    resumed_from_epoch: int | None = Field(description="The last resumption; None: trained in one go.")
    history: tuple[EpochMetrics, ...]
    review: dict[str, float]
    files: dict[str, Oid] = Field(description="Plots and logs, by the name MLflow shows.")
    seconds: float


class WeightReuse(Frozen):
    """Names the training that was done, of all that differ in nothing but how their models look at images."""

    run_key: str


class Origin(Frozen):
    """Names the training that a model version came from."""

    run_key: str


class Training(Frozen):
    """What the step gets to know: ids and counts."""

    run_key: str
    weights_oid: Oid
    steps: int
    epochs: int
    resumed_from_epoch: int | None
    mlflow_run: str
    model_version: str
    seconds: float


class _Found(NamedTuple, Generic[R]):
    """A record as it lies there."""

    record: R
    believed: bool
    """Signed, or named by signed evidence. Else it says of itself that it is from before signing."""


def read(lake: Lake, key: str, model: type[R], *, unsigned: bool = False) -> R | None:
    """A record, if it exists.

    Args:
        lake: Where it is.
        key: Its key.
        model: What it is a record of.
        unsigned: Take one without a signature, too. Only for what loads nothing, or asks `vouched` before.

    Raises:
        IntegrityError: It exists, and is not what it was written as: never the same as none.
        SignatureError: Nobody who is trusted here signed it, and no evidence names it.
    """
    found = _find(lake, key, model)
    if found and not found.believed and not unsigned:
        raise SignatureError(
            f"{key}: is not signed", expected="a record that we signed, or that signed evidence names", found="neither"
        )
    return found.record if found else None


def read_or_again(lake: Lake, key: str, model: type[R], say: Callable[[str], None], *, again: str) -> R | None:
    """As `read`, of what can be made again: a record that is not believed counts as none, aloud.

    Args:
        lake, key, model: As for `read`.
        say: Hears of it.
        again: What is done instead.
    """
    try:
        return read(lake, key, model)
    except SignatureError as error:
        say(f"left out of account, {again}: {error}")
        return None


def write(lake: Lake, key: str, record: Frozen) -> None:
    """File a record, signed."""
    content = json.loads(json.dumps(record.model_dump(mode="json")))
    signature = sign(lake.settings, _statement(key, content)).model_dump()
    data = json.dumps({**content, _SIGNATURE: signature}, sort_keys=True).encode()
    lake.store.put_bytes(key, data, "application/json")


def without_signature(content: dict[str, Any]) -> dict[str, Any]:
    """The fields of a record as it was filed."""
    return {name: value for name, value in content.items() if name != _SIGNATURE}


def _find(lake: Lake, key: str, model: type[R]) -> _Found[R] | None:
    if lake.store.head(key) is None:
        return None
    data = lake.store.get_bytes(key)
    try:
        content = json.loads(data)
        fields = without_signature(content)
        record = model.model_validate_json(json.dumps(fields))
        signature = Signature.model_validate(content[_SIGNATURE]) if _SIGNATURE in content else None
    except (ValidationError, ValueError, AttributeError, RecursionError) as error:
        found = " ".join(str(error).split())[:200]
        raise IntegrityError(f"{key}: was damaged", expected=f"a record of a {model.__name__}", found=found) from error
    try:
        check(lake.settings, _statement(key, fields), signature)
    except SignatureError as error:
        named = named_by_evidence(lake, record.line, key, data) if isinstance(record, Trained) else None
        if named is None and signature is None:
            return _Found(record, believed=False)
        if not named:
            raise SignatureError(
                f"{key}: is no record of ours",
                expected="a record that we signed, or that signed evidence names",
                found="evidence that names other bytes" if named is False and signature is None else str(error),
                fix="somebody else can write to the lake: `nightscope verify` says what else changed",
            ) from error
    return _Found(record, believed=True)


def _statement(key: str, content: dict[str, Any]) -> Statement:
    return Statement("training record", "", key, 0, hashlib.sha256(canonical_json(content).encode()).hexdigest())


_SIGNATURE = "signature"


def checkpoint_key(run_key: str) -> str:
    """Where the newest checkpoint is named."""
    return f"checkpoints/{run_key}/latest.json"


def trained_key(run_key: str) -> str:
    """Where the finished training is described."""
    return f"runs/{run_key}/trained.json"


def result_key(run_key: str) -> str:
    """Where the registered training is described."""
    return f"runs/{run_key}/result.json"


def version_key(line: str, version: str) -> str:
    """Where the training of a model version is named."""
    return f"versions/{line}/{version}.json"


def vouched(lake: Lake, record: ModelRecord) -> ModelRecord:
    """A model version as the lake knows it: what is loaded, and how it predicts, never comes from a tag in MLflow.

    Which training it came from says the lake's own note on the version; for a version from before there were such
    notes, the training that its tag names, if that training's own record names this very version.

    All of it is signed. What is from before signing is believed where nothing contradicts: see `_contradiction`.

    Raises:
        IntegrityError: No training in the lake says that it made this version; a SignatureError: one says so, and
            nobody who is trusted here signed that.
    """
    noted: _Found[Origin] | _Found[Training] | None
    noted = _find(lake, version_key(record.line, record.version), Origin)
    run_key = noted.record.run_key if noted else record.about.run_key
    found = _find(lake, trained_key(run_key), Trained) if RUN_KEY.fullmatch(run_key) else None
    if found and noted is None:
        result = _find(lake, result_key(run_key), Training)
        noted = result if result and result.record.model_version == record.version else None
    trained = found.record if found and noted else None
    if found and noted and not (found.believed and noted.believed):
        _contradiction(lake, record, found.record)
    if trained is None or trained.line != record.line or trained.run_key != run_key:
        raise IntegrityError(
            f"line {record.line}: no training in the lake says that it made model version {record.version}",
            expected="the record of a training of ours",
            found=f"MLflow's tag, which anybody can write: weights {record.weights_oid[:12]}",
            fix="do not use this version; a night trains and registers another",
        )
    about = record.about.model_copy(
        update={
            "run_key": run_key,
            "dataset_version": trained.dataset_version,
            "weights_oid": trained.weights_oid,
            "classes": trained.classes or record.about.classes,  # the weights name them, too, and are asked
            "imgsz": int(trained.setup.get("imgsz") or trained.recipe.get("arguments", {}).get("imgsz") or 0),
            "predict": dict(trained.recipe.get("predict", {})),
        }
    )
    if about != record.about:
        log.warning(
            f"line {record.line}, version {record.version}: MLflow's tags are not what was registered; the lake's "
            "record of the training counts",
        )
    return record.model_copy(update={"about": about})


def _contradiction(lake: Lake, record: ModelRecord, trained: Trained) -> None:
    """Refuse unsigned records of a version that cannot be from before signing, or of which MLflow says otherwise.

    When MLflow made a version nobody can set; and who changes the lake alone does not change its tags.
    """
    told = (record.about.run_key, record.about.weights_oid)
    if not before_signing(lake.settings, record.created_at):
        why = f"a version of {record.created_at:%Y-%m-%d %H:%M} UTC, when records were signed already"
    elif told != (trained.run_key, trained.weights_oid):
        why = f"weights {record.weights_oid[:12]} in MLflow, {trained.weights_oid[:12]} in the lake, and neither signed"
    else:
        return
    raise SignatureError(
        f"line {record.line}, version {record.version}: the record of its training is not signed",
        expected="a record that we signed, or one from before there were signatures that nothing contradicts",
        found=why,
        fix="do not use this version; a night trains and registers another",
    )


RUN_KEY = re.compile(r"[0-9a-f]{64}")


def reuse_key(plain_run_key: str) -> str:
    """Where the training is named that has the weights; by the run key of the one that looks at an image once."""
    return f"runs/{plain_run_key}/twin.json"


def local_copy(lake: Lake, oid: Oid, target: Path) -> Path:
    """A verified blob under a name of its own, e.g. one that ends in .pt. A link where possible."""
    source = lake.blobs.fetch(oid)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    target.symlink_to(source.resolve())
    return target
