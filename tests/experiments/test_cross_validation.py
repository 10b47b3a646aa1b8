"""Cross-validation end to end: real trainings, a fold whose worker crashes, the same through Airflow."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tasks import experiments, steps
from tasks.cli.output import dump
from tasks.config import HOME, Settings, load_line
from tasks.errors import ConfigError, DataError, InsufficientData, LeakageError, StepFailed
from tasks.kinds import kind_of
from tasks.lake import Lake, open_lake
from tasks.registry import open_registry
from tasks.session import open_session
from tasks.training.identity import run_key
from tasks.training.records import Checkpoint, checkpoint_key, result_key, trained_key, write
from tests.airflow_home import airflow_environment
from tests.steps.small_line import FRAMES, LINE, RECORDINGS, copies_of_one_clip, freeze, left_alone, steps_use

DETECTION = kind_of("detection")


@pytest.fixture(scope="module")
def installation(small_line_environment: dict[str, str]) -> Iterator[Settings]:
    """The small line, its newest dataset version frozen."""
    with steps_use(small_line_environment) as settings:
        freeze()
        yield settings


def make_crash(settings: Settings, version: str, **changes: int) -> str:
    """Have the fold's worker crash: it is told to go on from a checkpoint that is none. Returns that record's key."""
    lake, line = open_lake(settings), load_line(LINE, settings.lines_dir)
    key = checkpoint_key(run_key(lake, line.with_changes(changes), version, DETECTION))
    write(lake, key, Checkpoint(oid=lake.blobs.put_bytes(b"no checkpoint"), epoch=1, history=(), setup={}))
    return key


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    """`nightscope ...`, as a user has it."""
    line = [str(Path(sys.executable).with_name("nightscope")), *arguments]
    return subprocess.run(line, capture_output=True, text=True, check=False, env=os.environ)


def airflow(settings: Settings, conf: dict[str, Any]) -> dict[str, Any]:
    """Run the DAG through `dag.test()`, in a process and an Airflow of its own."""
    environment = airflow_environment(settings)
    script = f"""
import json
from airflow.dag_processing.dagbag import DagBag
bag = DagBag({str(HOME / "dags" / "cross_validate.py")!r})
assert not bag.import_errors, bag.import_errors
run = bag.dags["cross_validate"].test(run_conf=json.loads({json.dumps(conf)!r}))
tasks = {{f"{{i.task_id}}[{{i.map_index}}]": str(i.state) for i in run.get_task_instances()}}
print(json.dumps({{"state": str(run.state), "tasks": tasks}}))
"""
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, (done.stdout + done.stderr)[-6000:]
    return dict(json.loads(done.stdout.strip().splitlines()[-1]))


def test_a_crashed_fold_loses_no_other_and_is_made_up_for(installation: Settings) -> None:
    lake, registry = open_lake(installation), open_registry(installation)
    before = left_alone(installation)
    versions = experiments.plan_folds(open_session(), LINE, {}, folds=2).folds
    crash = make_crash(installation, versions[0])

    run = airflow(installation, {"line": LINE, "folds": 2})
    assert run["tasks"] == {
        "plan_folds[-1]": "success",
        "run_fold[0]": "failed",
        "run_fold[1]": "success",
        "summarise_folds[-1]": "failed",
    }
    assert run["state"] == "failed"
    report = experiments.summarise_folds(open_session(), LINE, {}, versions)
    crashed, fine = dump(report)["folds"]
    assert (crashed["state"], fine["state"], report.complete) == ("failed", "finished", False)
    assert crashed["error"] == "StepFailed" and "exit code 1" in crashed["why"]
    ap50 = next(score for score in report.scores if (score["metric"], score["where"]) == ("AP50", None))
    assert ap50["folds"][0] is None and ap50["mean"] == ap50["folds"][1] and ap50["low"] is None
    assert registry.client.get_run(report.mlflow_run).info.status == "FAILED"

    lake.store.remove(crash)
    again = command("cross-validate", LINE, "--folds", "2", "--json")
    assert again.returncode == 0, again.stderr
    assert "fold 2 of 2" not in again.stderr and "fold 1 of 2" in again.stderr
    report = json.loads(again.stdout)
    assert report["complete"] and report["folds"][1] == fine, "a finished fold is not run again"
    check_report(lake, report)
    check_run(installation, report)
    assert left_alone(installation) == before
    for fold in report["folds"]:
        assert lake.store.head(trained_key(fold["run_key"])) and not lake.store.head(result_key(fold["run_key"]))


def check_report(lake: Lake, report: dict[str, Any]) -> None:
    """Every group and frame is tested once, and every score has its place."""
    assert sorted(group for fold in report["folds"] for group in fold["groups"]) == [f"donor:d{n}" for n in range(4)]
    assert sum(fold["test_frames"] for fold in report["folds"]) == RECORDINGS * FRAMES
    assert report["recordings"].keys() == {f"r{n}.mp4" for n in range(4)}
    assert {score["where"] for score in report["scores"]} >= {None, "class.sperm", "class.impurity"}
    assert all(score["low"] <= score["mean"] <= score["high"] for score in report["scores"] if score["low"] is not None)
    assert json.loads(lake.blobs.get_bytes(report["result_oid"]))["folds"] == report["folds"]


def check_run(settings: Settings, report: dict[str, Any]) -> None:
    """One MLflow run shows it: each fold's score as a step, mean and interval, and the table."""
    registry = open_registry(settings)
    run = registry.client.get_run(report["mlflow_run"])
    assert run.data.tags["nightscope.kind"] == "cross-validation" and run.info.status == "FINISHED"
    history = registry.client.get_metric_history(report["mlflow_run"], "fold/AP50")
    assert sorted({entry.step for entry in history}) == [1, 2]
    assert {"mean/AP50", "low/AP50", "high/AP50", "mean/class.sperm.AP50"} <= set(run.data.metrics)
    path = registry.client.download_artifacts(report["mlflow_run"], "folds.csv")
    table = list(csv.DictReader(io.StringIO(Path(path).read_text())))
    assert float(table[0]["mean"]) == pytest.approx(run.data.metrics["mean/AP50"])
    found = registry.client.search_runs([registry.runs.experiment(LINE)], "tags.`nightscope.kind` = 'cross-validation'")
    assert len(found) == 1, "the same folds summed up twice are one run"


def test_what_cannot_be_folded_is_refused(installation: Settings) -> None:
    with pytest.raises(InsufficientData, match=r"cannot make 5 folds of 4 donors.*say --folds 4"):
        experiments.plan_folds(open_session(), LINE, {}, folds=5)
    with pytest.raises(ConfigError, match="momentun"):
        experiments.plan_folds(open_session(), LINE, {"momentun": 0.9}, folds=2)
    night = open_lake(installation).datasets.versions(LINE)[-1]
    with pytest.raises(DataError, match="is no fold"):
        experiments.run_fold(open_session(), LINE, {}, night)
    with pytest.raises(StepFailed, match="no folds to sum up"):
        experiments.summarise_folds(open_session(), LINE, {}, None)


def test_a_fold_is_not_trained_as_a_challenger(installation: Settings) -> None:
    fold = experiments.plan_folds(open_session(), LINE, {}, folds=2).folds[0]
    with pytest.raises(DataError, match="made for an experiment"):
        steps.train_challenger(open_session(), LINE, {}, fold)


def test_a_leak_between_folds_is_refused_though_a_night_may_train_on_both(installation: Settings) -> None:
    # One clip under two encodings, of two donors: both are pinned to train, where a night sees no harm.
    lake = open_lake(installation)
    name = copies_of_one_clip(lake, installation.lines_dir)
    validation = steps.validate_labels(open_session(), name)
    night = steps.freeze_dataset(open_session(), name, {}, validation.validation_oid, force=True).dataset_version
    with pytest.raises(LeakageError, match=r"nearly the same frame .*\(fold \d\) and .*\(fold \d\)"):
        experiments.plan_folds(open_session(), name, {}, folds=4)
    assert lake.datasets.versions(name) == [night]
    assert len({info.key.split("/")[2] for info in lake.store.list(f"datasets/{name}/")}) == 1
