"""MLflow runs: one per training, found again by its run key."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from tasks.errors import DataError
from tasks.registry.connection import quoted, speaking
from tasks.schemas import Frozen

if TYPE_CHECKING:
    from mlflow import MlflowClient

log = logging.getLogger(__name__)

RUN_KEY = "nightscope.run_key"


class EpochMetrics(Frozen):
    """What one epoch measured. The time is kept, so that logging an epoch twice logs it once."""

    epoch: int = Field(ge=0, description="From 1; 0: measured before the first.")
    at_ms: int
    metrics: dict[str, float]


class Runs:
    """The runs of one tracking server."""

    def __init__(self, client: MlflowClient, url: str) -> None:
        self._client = client
        self._url = url

    def open(self, line: str, run_key: str, *, name: str, tags: Mapping[str, Any]) -> str:
        """The run of `run_key` in the line's experiment, made if there is none. Never two.

        One that a person deleted is restored, and said; of several that bear the key the first was ours.

        Args:
            tags: Set on the run, whether new or old.

        Returns:
            The run's id.

        Raises:
            ServiceUnavailable: MLflow did not answer.
        """
        from mlflow.entities import RunTag, ViewType

        with speaking(self._url, f"run {run_key[:12]} of line {line}"):
            experiment = self.experiment(line)
            wanted = f"tags.`{RUN_KEY}` = {quoted(run_key)}"
            oldest = ["attributes.start_time ASC"]
            found = self._client.search_runs([experiment], wanted, ViewType.ALL, max_results=100, order_by=oldest)
            if found:
                alive = [run for run in found if run.info.lifecycle_stage == "active"]
                run_id = str((alive or found)[0].info.run_id)
                if not alive:
                    self._restore(run_id)
            else:
                run_id = self._client.create_run(experiment, run_name=name, tags={RUN_KEY: run_key}).info.run_id
            self._client.log_batch(run_id, tags=[RunTag(key, _text(value)) for key, value in tags.items()])
            return run_id

    def experiment(self, line: str) -> str:
        """The id of the line's experiment, made if there is none; one that a person deleted is restored, and said."""
        from mlflow.exceptions import MlflowException

        found = self._client.get_experiment_by_name(line)
        if found is not None:
            if found.lifecycle_stage != "active":
                log.warning(f"experiment {line} was deleted in MLflow; it is restored, with its runs")
                self._client.restore_experiment(found.experiment_id)
            return str(found.experiment_id)
        try:
            return str(self._client.create_experiment(line))
        except MlflowException:  # somebody else made it a moment ago
            found = self._client.get_experiment_by_name(line)
            if found is None:
                raise
            return str(found.experiment_id)

    def url_of(self, run_id: str) -> str:
        """The run's page.

        Raises:
            ServiceUnavailable: MLflow did not answer.
        """
        with speaking(self._url, f"run {run_id}"):
            experiment = self._client.get_run(run_id).info.experiment_id
        return f"{self._url}/#/experiments/{experiment}/runs/{run_id}"

    def log_params(self, run_id: str, params: Mapping[str, Any]) -> None:
        """Log parameters; the same again is fine."""
        from mlflow.entities import Param

        entries = [Param(key, _text(value)[:6000]) for key, value in sorted(params.items())]
        for start in range(0, len(entries), 100):
            part = entries[start : start + 100]
            self._log(run_id, "parameters", partial(self._client.log_batch, run_id, params=part))

    def log_epochs(self, run_id: str, epochs: Sequence[EpochMetrics]) -> None:
        """Log the metrics of epochs, in few calls; the same again is fine."""
        from mlflow.entities import Metric

        entries = [
            Metric(_metric_name(name), value, epoch.at_ms, epoch.epoch)
            for epoch in epochs
            for name, value in sorted(epoch.metrics.items())
        ]
        for start in range(0, len(entries), 900):  # a call takes 1,000
            part = entries[start : start + 900]
            self._log(run_id, "metrics", partial(self._client.log_batch, run_id, metrics=part))

    def log_dataset(self, run_id: str, line: str, dataset_version: str, uri: str) -> None:
        """Say which dataset version the run learned from."""
        from mlflow.entities import Dataset, DatasetInput, InputTag

        source = json.dumps({"uri": uri, "version": dataset_version})
        dataset = Dataset(name=line, digest=dataset_version[:36], source_type="nightscope", source=source)
        inputs = [DatasetInput(dataset, [InputTag("mlflow.data.context", "training")])]
        self._log(run_id, "dataset", lambda: self._client.log_inputs(run_id, inputs))

    def log_files(self, run_id: str, files: Mapping[str, Path]) -> None:
        """Log files under names with folders, e.g. 'val/confusion_matrix.png'; the same again replaces them."""
        import shutil
        import tempfile

        with tempfile.TemporaryDirectory(prefix="nightscope-") as folder:
            for name, path in files.items():
                place = Path(folder) / name  # MLflow shows a file under its local name, and a blob's is its hash
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, place)
            if files:
                self._log(run_id, "artifacts", lambda: self._client.log_artifacts(run_id, folder))

    def finish(self, run_id: str, *, failed: bool = False) -> None:
        """Mark the run as ended."""
        state = "FAILED" if failed else "FINISHED"
        self._log(run_id, "end", lambda: self._client.set_terminated(run_id, state))

    def _log(self, run_id: str, what: str, call: Callable[[], object]) -> None:
        """Do it; where MLflow refuses because a person deleted the run, restore that and do it again."""
        try:
            with speaking(self._url, f"{what} of run {run_id}"):
                call()
        except DataError:
            with speaking(self._url, f"run {run_id}"):
                info = self._client.get_run(run_id).info
                if info.lifecycle_stage == "active":
                    raise
                if self._client.get_experiment(info.experiment_id).lifecycle_stage != "active":
                    self._client.restore_experiment(info.experiment_id)
                self._restore(run_id)
            with speaking(self._url, f"{what} of run {run_id}"):
                call()

    def _restore(self, run_id: str) -> None:
        log.warning(f"run {run_id} was deleted in MLflow; it is restored: models of ours came from it")
        self._client.restore_run(run_id)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True, default=str)


def _metric_name(name: str) -> str:
    """MLflow refuses parentheses; ultralytics' names have them."""
    return name.removeprefix("metrics/").replace("(B)", "").replace("mAP50-95", "AP50_95").replace("mAP50", "AP50")
