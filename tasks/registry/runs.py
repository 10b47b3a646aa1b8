"""MLflow runs: one per training, found again by its run key."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from tasks.registry.connection import quoted, speaking
from tasks.schemas import Frozen

if TYPE_CHECKING:
    from mlflow import MlflowClient

RUN_KEY = "nightscope.run_key"


class EpochMetrics(Frozen):
    """What one epoch measured. The time is kept, so that logging an epoch twice logs it once."""

    epoch: int = Field(ge=1)
    at_ms: int
    metrics: dict[str, float]


class Runs:
    """The runs of one tracking server."""

    def __init__(self, client: MlflowClient, url: str) -> None:
        self._client = client
        self._url = url

    def open(self, line: str, run_key: str, *, name: str, tags: Mapping[str, Any]) -> str:
        """The run of `run_key` in the line's experiment, made if there is none. Never two.

        Args:
            tags: Set on the run, whether new or old.

        Returns:
            The run's id.

        Raises:
            ServiceUnavailable: MLflow did not answer.
        """
        from mlflow.entities import RunTag

        with speaking(self._url, f"run {run_key[:12]} of line {line}"):
            experiment = self.experiment(line)
            wanted = f"tags.`{RUN_KEY}` = {quoted(run_key)}"
            found = self._client.search_runs([experiment], filter_string=wanted, max_results=1)
            if found:
                run_id = str(found[0].info.run_id)
            else:
                run_id = self._client.create_run(experiment, run_name=name, tags={RUN_KEY: run_key}).info.run_id
            self._client.log_batch(run_id, tags=[RunTag(key, _text(value)) for key, value in tags.items()])
            return run_id

    def experiment(self, line: str) -> str:
        """The id of the line's experiment, made if there is none."""
        from mlflow.exceptions import MlflowException

        found = self._client.get_experiment_by_name(line)
        if found is not None:
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
        with speaking(self._url, f"parameters of run {run_id}"):
            for start in range(0, len(entries), 100):
                self._client.log_batch(run_id, params=entries[start : start + 100])

    def log_epochs(self, run_id: str, epochs: Sequence[EpochMetrics]) -> None:
        """Log the metrics of epochs, in few calls; the same again is fine."""
        from mlflow.entities import Metric

        entries = [
            Metric(_metric_name(name), value, epoch.at_ms, epoch.epoch)
            for epoch in epochs
            for name, value in sorted(epoch.metrics.items())
        ]
        with speaking(self._url, f"metrics of run {run_id}"):
            for start in range(0, len(entries), 900):  # a call takes 1,000
                self._client.log_batch(run_id, metrics=entries[start : start + 900])

    def log_dataset(self, run_id: str, line: str, dataset_version: str, uri: str) -> None:
        """Say which dataset version the run learned from."""
        from mlflow.entities import Dataset, DatasetInput, InputTag

        source = json.dumps({"uri": uri, "version": dataset_version})
        dataset = Dataset(name=line, digest=dataset_version[:36], source_type="nightscope", source=source)
        with speaking(self._url, f"dataset of run {run_id}"):
            self._client.log_inputs(run_id, [DatasetInput(dataset, [InputTag("mlflow.data.context", "training")])])

    def log_files(self, run_id: str, files: Mapping[str, Path]) -> None:
        """Log files under names with folders, e.g. 'val/confusion_matrix.png'; the same again replaces them."""
        import shutil
        import tempfile

        with (
            tempfile.TemporaryDirectory(prefix="nightscope-") as folder,
            speaking(self._url, f"artifacts of run {run_id}"),
        ):
            for name, path in files.items():
                place = Path(folder) / name  # MLflow shows a file under its local name, and a blob's is its hash
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, place)
            if files:
                self._client.log_artifacts(run_id, folder)

    def finish(self, run_id: str, *, failed: bool = False) -> None:
        """Mark the run as ended."""
        with speaking(self._url, f"end of run {run_id}"):
            self._client.set_terminated(run_id, "FAILED" if failed else "FINISHED")


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True, default=str)


def _metric_name(name: str) -> str:
    """MLflow refuses parentheses; ultralytics' names have them."""
    return name.removeprefix("metrics/").replace("(B)", "").replace("mAP50-95", "AP50_95").replace("mAP50", "AP50")
