"""A line with versions and verdicts to promote, and processes that are killed while they do."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

import yaml

from tasks.lake import Lake
from tasks.promotion.verdict_rows import signed
from tasks.registry import ModelRecord, Registry
from tasks.schemas import Decision, GateResult, Verdict, digest, now
from tasks.session import open_session
from tests.evaluation.world import a_line, make_world
from tests.gates.evaluations import evaluation_of
from tests.registry.making import make_version

_INTERVALS = {
    "per_class": {"sperm": {"AP50": {"low": 0.85, "high": 0.95, "confidence": 0.95}}},
    "differences": {"per_class": {"sperm": {"AP50": {"value": 0.01, "low": -0.01, "high": 0.03, "confidence": 0.95}}}},
}
processes = multiprocessing.get_context("forkserver")
processes.set_forkserver_preload(["tasks.steps", "tasks.evidence", "mlflow", "pyiceberg.catalog.sql", __name__])


@dataclass
class Scene:
    """A line in a lake and a registry. Its dataset version and evaluations are real, small and made by hand."""

    name: str
    lake: Lake
    registry: Registry
    folder: Path
    dataset_version: str = ""

    def __post_init__(self) -> None:
        self.dataset_version = make_world(self.lake, a_line(line=self.name), ["a.mp4", "b.mp4"]).version

    def configure(self, **rest: Any) -> None:
        """Write the line's file again."""
        self.configured(self.name, self.folder, **rest)

    @staticmethod
    def configured(name: str, folder: Path, **rest: Any) -> None:
        """Write a line's file."""
        line = a_line(line=name, **rest).model_dump(mode="json", by_alias=True, exclude_none=True)
        line["recipe"] = {"name": "detection-from-scratch"}
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(line))

    def version(self) -> ModelRecord:
        """A new version of the line's model."""
        number = len(self.registry.versions(self.name)) + 1
        return make_version(self.registry, self.name, digest(self.name, number), self.folder)

    def verdict(
        self,
        version: str,
        champion: str | None,
        word: Decision = Decision.PROMOTE,
        salt: int = 0,
        changes: Mapping[str, Any] | None = None,
    ) -> str:
        """What the gates, changed for the run, said of a version; returns the verdict's id."""
        judged = a_line(line=self.name).with_changes(changes or {})
        path = ("per_class", "sperm", "AP50")
        values = {path: 0.9 + salt / 1000}
        evaluation = evaluation_of(values, values if champion else None, {path: [0.0] * 10} if champion else None)
        evaluation = evaluation.model_copy(update={"line": self.name, "dataset_version": self.dataset_version})
        oid = self.lake.blobs.put_bytes(evaluation.model_dump_json().encode())
        verdict = Verdict(
            verdict_id=digest(self.name, version, champion, word, salt)[:24], line=self.name, run_key="k" * 64,
            verdict=word, reasons=(f"the gates say {word}",), metrics=evaluation.metrics,
            gates=(GateResult(gate="AP50.at_least", decision=word, reason="a | b", threshold=0.6, value=0.9),),
            champion_metrics=evaluation.champion_metrics, intervals=_INTERVALS,
            dataset_version=self.dataset_version, model_version=version, champion_version=champion, mlflow_run="r",
            evaluation_oid=oid, report_oid=self.lake.blobs.put_bytes(b"<html>report</html>"),
            line_oid=self.lake.blobs.put_bytes(judged.model_dump_json(by_alias=True).encode()),
            at=now(),
        )  # fmt: skip
        self.lake.tables.append("verdicts", [signed(self.lake.settings, verdict)], key="verdict_id")
        return verdict.verdict_id

    def champion(self) -> tuple[str | None, str | None]:
        """Champion and previous, as MLflow says; nothing may be left half done."""
        model = self.registry.client.get_registered_model(self.name)
        assert model.tags == {}, "a change of champion was left unfinished"
        assert list(self.lake.store.list(f"undertakings/{self.name}")) == []
        held = self.registry.aliases(self.name)
        return held.champion, held.previous


def start(target: Callable[..., None], *arguments: Any) -> ForkServerProcess:
    """Run a function of this module in a process of its own."""
    process = processes.Process(target=target, args=(dict(os.environ), *arguments))
    process.start()
    return process


def die(number: int, step: str, arguments: tuple[Any, ...], rest: dict[str, Any]) -> int | None:
    """Carry out a step in a process that is killed at a write; returns its exit code: -9, or 0 if it got through."""
    process = start(_die_before_write, number, step, arguments, rest)
    process.join(timeout=120)
    assert process.exitcode in (0, -9), f"exit code {process.exitcode}"
    return process.exitcode


def _die_before_write(
    environment: dict[str, str], number: int, step: str, arguments: tuple[Any, ...], rest: Any
) -> None:
    """Carry out a step; kill -9 this process instead of its write `number` (0, 1, ...), whatever it writes to."""
    from mlflow import MlflowClient

    from tasks import operations, steps
    from tasks.lake.object_store import ObjectStore
    from tasks.lake.tables import Tables

    os.environ.update(environment)
    left = [number]
    writes = [(ObjectStore, name) for name in ("put_bytes", "put_file", "remove")] + [(Tables, "append")]
    prefixes = ("set_", "delete_", "create_", "log_", "update_")
    writes += [(MlflowClient, name) for name in dir(MlflowClient) if name.startswith(prefixes)]
    for owner, name in writes:
        setattr(owner, name, _mortal(getattr(owner, name), left))
    getattr(steps if hasattr(steps, step) else operations, step)(open_session(), *arguments, **rest)


def _mortal(method: Callable[..., Any], left: list[int]) -> Callable[..., Any]:
    def call(*arguments: Any, **rest: Any) -> Any:
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        left[0] -= 1
        return method(*arguments, **rest)

    return call


def race(environment: dict[str, str], barrier: Any, results: Any, name: str, verdict_id: str) -> None:
    """Carry out a night when everybody is ready; says how it ended."""
    from tasks import steps

    os.environ.update(environment)
    barrier.wait()
    try:
        steps.promote_model(open_session(), name, {}, verdict_id)
        results.put((verdict_id, "promoted"))
    except Exception as error:
        results.put((verdict_id, str(error)))
