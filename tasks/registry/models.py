"""The model registry: a registered model per line, its versions, and the aliases that say which one is in charge.

Aliases: `champion` is in charge, `previous` was before it, `challenger` is the newest one that waits for a verdict.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from tasks.config import Settings
from tasks.errors import DataError, NotFound
from tasks.kind import Served
from tasks.registry import promotion
from tasks.registry.connection import connect, quoted, speaking
from tasks.registry.pyfunc import save_pyfunc
from tasks.registry.runs import RUN_KEY, Runs
from tasks.schemas import Aliases, Frozen, Oid

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion, RegisteredModel

log = logging.getLogger(__name__)

CHAMPION, PREVIOUS, CHALLENGER = "champion", "previous", "challenger"
ABOUT = "nightscope.about"
WAIT_S = 30


class ModelAbout(Frozen):
    """Everything needed to use a model: what the pyfunc's model.json and the version's tags hold."""

    line: str
    kind: str
    run_key: str
    dataset_version: str
    weights_oid: Oid
    classes: tuple[str, ...]
    imgsz: int
    predict: dict[str, Any]


class ModelRecord(Frozen):
    """One version of a line's model, as registered."""

    line: str
    version: str
    mlflow_run: str
    about: ModelAbout
    aliases: tuple[str, ...] = ()
    created_at: datetime
    promoted_at: datetime | None = None
    verdict_id: str | None = None

    @property
    def weights_oid(self) -> Oid:
        """The blob of its weights."""
        return self.about.weights_oid

    @property
    def dataset_version(self) -> str:
        """What it learned from."""
        return self.about.dataset_version


class Registry:
    """MLflow, as the rooms above see it.

    Args:
        client: MLflow's.
        url: For messages.
    """

    def __init__(self, client: MlflowClient, url: str) -> None:
        self.client = client
        self.url = url
        self.runs = Runs(client, url)

    def register(self, about: ModelAbout, *, mlflow_run: str, weights: Path, served: Served) -> ModelRecord:
        """Log the model as a pyfunc and register it as a version of its line's model; `challenger` then means it.

        The same run key again gives the same version, wherever an earlier call was killed.

        Args:
            about: Of the model.
            mlflow_run: The run it came from.
            weights: Local file of its weights.
            served: How its kind is served.

        Raises:
            ServiceUnavailable: MLflow did not answer.
        """
        with speaking(self.url, f"model of line {about.line}"):
            version = self._version_of(about, mlflow_run)
            if version is None:
                model_id = self._logged_model(about, mlflow_run, weights, served)
                self._ensure_model(about.line)
                made = self.client.create_model_version(
                    about.line,
                    source=f"models:/{model_id}",
                    run_id=mlflow_run,
                    model_id=model_id,
                    tags={RUN_KEY: about.run_key, ABOUT: about.model_dump_json()},
                    await_creation_for=WAIT_S,
                )
                version = str(made.version)
            record = self.version(about.line, version)
            if record.promoted_at is None and CHALLENGER not in record.aliases:
                self.client.set_registered_model_alias(about.line, CHALLENGER, version)
                record = self.version(about.line, version)
        return record

    def _version_of(self, about: ModelAbout, mlflow_run: str) -> str | None:
        """The version that an earlier call made. One that only bears the run key, by another hand, is passed over."""
        wanted = f"name = {quoted(about.line)} and tags.`{RUN_KEY}` = {quoted(about.run_key)}"
        ours = []
        for version in self.client.search_model_versions(wanted):
            try:
                record = _record(version)
            except DataError as error:
                log.warning(f"not taken for the model of training {about.run_key[:12]}: {error}")
                continue
            if record.about == about and record.mlflow_run == mlflow_run:
                ours.append(record.version)
        return min(ours, key=int, default=None)

    def _ensure_model(self, line: str) -> None:
        from mlflow.exceptions import MlflowException

        try:
            self.client.create_registered_model(line)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise

    def _logged_model(self, about: ModelAbout, run_id: str, weights: Path, served: Served) -> str:
        """The id of the finished logged model of this run key: an earlier call's, or a new one."""
        from mlflow.entities import LoggedModelOutput, LoggedModelStatus

        experiment = self.runs.experiment(about.line)
        found = self.client.search_logged_models(
            [experiment], filter_string=f"tags.`{RUN_KEY}` = {quoted(about.run_key)}"
        )
        ready = [model for model in found if model.status == LoggedModelStatus.READY]
        if ready:
            return str(min(ready, key=lambda model: model.creation_timestamp).model_id)
        model = found[0] if found else self.client.create_logged_model(
            experiment, name=about.line, source_run_id=run_id, tags={RUN_KEY: about.run_key}, model_type=about.kind
        )  # fmt: skip
        content = {**about.model_dump(mode="json"), "weights_sha256": about.weights_oid}
        with save_pyfunc(content, weights, served, model_id=model.model_id, run_id=run_id) as folder:
            self.client.log_model_artifacts(model.model_id, str(folder))
        outputs = self.client.get_run(run_id).outputs
        if model.model_id not in {output.model_id for output in (outputs.model_outputs if outputs else ())}:
            self.client.log_outputs(run_id, [LoggedModelOutput(model.model_id, 0)])  # MLflow refuses it a second time
        self.client.finalize_logged_model(model.model_id, LoggedModelStatus.READY)
        return str(model.model_id)

    def version(self, line: str, version: str) -> ModelRecord:
        """One version of the line's model.

        Raises:
            NotFound: The line has no such version.
            DataError: It is not one of ours, or what we wrote beside it cannot be read.
        """
        with speaking(self.url, f"version {version} of model {line}"):
            return _record(self.client.get_model_version(line, version))

    def versions(self, line: str) -> list[ModelRecord]:
        """All versions of the line's model that are ours, newest first; those of another hand are named and left out.

        Empty where the line has no model.
        """
        with speaking(self.url, f"versions of model {line}"):
            found = self.client.search_model_versions(f"name = {quoted(line)}", max_results=1000)
            numbers = sorted((int(v.version) for v in found), reverse=True)
            ours = []
            for number in numbers:
                try:
                    ours.append(_record(self.client.get_model_version(line, str(number))))
                except DataError as error:
                    log.warning(f"left out: {error}")
            return ours

    def champion(self, line: str) -> ModelRecord | None:
        """The version that MLflow calls champion; None where it calls none so.

        Raises:
            DataError: It calls one so that is not ours, or that cannot be read. That is never "no champion": gates that
                compare would have nobody to compare with, and say nothing.
        """
        return self.aliased(line, CHAMPION)

    def aliased(self, line: str, alias: str) -> ModelRecord | None:
        """The version that an alias means; None where there is no such alias, or no model.

        Raises:
            DataError: The alias means a version that is not ours, is gone, or cannot be read.
        """
        model = self._model(line)
        target = model.aliases.get(alias) if model else None
        if target is None:
            return None
        try:
            return self.version(line, str(target))
        except DataError as error:
            raise not_by_us(line, str(target), alias, error.thing) from error

    def _model(self, line: str) -> RegisteredModel | None:
        """The registered model; None where MLflow says that there is none of that name, and never by an error."""
        try:
            with speaking(self.url, f"model {line}"):
                return self.client.get_registered_model(line)
        except NotFound:
            return None

    def aliases(self, line: str) -> Aliases:
        """Which versions are in charge, were before, and wait for a verdict; all None where the line has no model."""
        model = self._model(line)
        return promotion.aliases_of(model) if model else Aliases()

    def promote(self, line: str, version: str, verdict_id: str | None) -> ModelRecord:
        """Put a version in charge: `previous` is the champion so far, `champion` the version.

        Safe to repeat and to be killed anywhere: the same promotion again completes what was begun. Only one process
        may promote a line at a time (hold `lake_lock(settings, f"promote-{line}")`).

        Args:
            line: Whose champion.
            version: Of the line's model.
            verdict_id: By which verdict; None: a person's word, and the version keeps the verdict that it has.

        Raises:
            NotFound: The line has no such version.
        """
        self.version(line, version)
        with speaking(self.url, f"promotion of version {version} of line {line}"):
            promotion.promote(self.client, line, version, verdict_id)
        return self.version(line, version)

    def roll_back(self, line: str, version: str) -> ModelRecord:
        """Put a version in charge again that was before; the one in charge so far becomes `previous`.

        As `promote` in all else: safe to repeat, to be killed anywhere, and for one process at a time. The version's
        verdict stays the one that first put it in charge.

        Raises:
            NotFound: The line has no such version.
        """
        return self.promote(line, version, None)

    def settle(self, line: str) -> None:
        """Cross out, aloud, what stands in MLflow as an order to move the line's aliases: nothing there is one.

        Nothing happens where the line has no model yet.
        """
        if self._model(line) is None:
            return
        with speaking(self.url, f"promotions of line {line}"):
            promotion.settle(self.client, line)


def not_by_us(line: str, version: str, alias: str, found: str) -> DataError:
    """What to say, and to do, of a version that bears an alias which nothing of ours gave it."""
    return DataError(
        f"line {line}: model version {version} is called {alias} in MLflow without a verdict of ours",
        expected="a version that Nightscope registered, judged and put in charge",
        found=found,
        fix=f"take the alias {alias} away in MLflow, or put a version of ours in charge: "
        f'nightscope promote {line} --to VERSION --override --note "why"',
    )


def open_registry(settings: Settings) -> Registry:
    """The registry of this installation.

    Raises:
        ConfigError: MLflow has no URL.
    """
    url = settings.mlflow.url
    login = settings.mlflow
    return Registry(connect(url, login.username, login.password.get_secret_value()), url)


def _record(version: ModelVersion) -> ModelRecord:
    """What a version of ours says of itself.

    Raises:
        DataError: It is not ours, or its tags were changed to what cannot be read.
    """
    tags: Mapping[str, str] = version.tags or {}
    named = f"version {version.version} of model {version.name}"
    if ABOUT not in tags:
        raise DataError(f"{named} in MLflow was not registered by Nightscope", fix="delete it there, or leave it alone")
    promoted = tags.get(promotion.PROMOTED_AT)
    try:
        record = ModelRecord(
            line=version.name,
            version=str(version.version),
            mlflow_run=str(version.run_id or ""),
            about=ModelAbout.model_validate_json(tags[ABOUT]),
            aliases=tuple(sorted(version.aliases)),
            created_at=datetime.fromtimestamp(version.creation_timestamp / 1000, UTC),
            promoted_at=datetime.fromisoformat(promoted) if promoted else None,
            verdict_id=tags.get(promotion.VERDICT),
        )
    except (ValidationError, ValueError) as error:
        raise DataError(
            f"{named} in MLflow: its tags {ABOUT} and {promotion.PROMOTED_AT} cannot be read",
            expected="what Nightscope wrote there",
            found=" ".join(str(error).split())[:200],
            fix="somebody changed them; `nightscope verify` says what they were",
        ) from error
    if record.about.line != record.line:
        raise DataError(
            f"{named} in MLflow: its tag {ABOUT} is that of another line",
            expected=record.line,
            found=record.about.line,
            fix="delete the version there; somebody made it by hand",
        )
    return record
