"""Searches end to end: real trainings of a tiny model, one killed in a trial, one in Airflow, the winner's night."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tasks import evidence, experiments, steps
from tasks.cli.output import dump
from tasks.config import HOME, ClassSpec, Settings
from tasks.errors import ConfigError, DataError, NotFound, NothingToDo
from tasks.evidence import chain
from tasks.experiments.search import records, study, trials
from tasks.experiments.search.records import TrialResult
from tasks.kind import ModelRef
from tasks.kinds import kind_of
from tasks.lake import open_lake
from tasks.metrics.judgement import measured
from tasks.registry import open_registry
from tasks.schemas import now
from tasks.session import open_session
from tasks.steps.verdict import RegisteredTraining
from tasks.training.identity import run_key
from tasks.training.records import Checkpoint, Trained, checkpoint_key, read, result_key, trained_key, write
from tests.airflow_home import airflow_environment
from tests.steps.small_line import LINE, freeze, left_alone, steps_use

SPACE = {"lr0": {"low": 0.001, "high": 0.02, "log": True}, "batch": [2, 4]}
COMPARED = ("number", "state", "params", "value", "run_key", "weights_oid", "epochs")
DETECTION = kind_of("detection")


@pytest.fixture(scope="module")
def installation(small_line_environment: dict[str, str]) -> Iterator[Settings]:
    """The small line, its newest dataset version frozen."""
    with steps_use(small_line_environment) as settings:
        freeze()
        yield settings


def command(*arguments: str) -> list[str]:
    """`nightscope ...`, as a user has it."""
    return [str(Path(sys.executable).with_name("nightscope")), *arguments]


def documents(settings: Settings, search: str) -> dict[str, str]:
    """What a search left in the lake, and as of when."""
    found = open_lake(settings).store.list(f"experiments/{LINE}/searches/{search}/")
    return {info.key.rpartition("searches/")[2]: f"{info.etag} {info.modified_at}" for info in found}


def wait_for(condition: Any, process: subprocess.Popen[str]) -> Any:
    while not (found := condition()):
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    return found


def test_a_search_measures_on_validation_frames_and_leaves_all_else_alone(installation: Settings) -> None:
    lake, before = open_lake(installation), left_alone(installation)
    found = experiments.run_search(open_session(), LINE, {}, SPACE, sampler="random", trials=2, search="first", seed=1)

    assert found.complete and [trial["state"] for trial in found.trials] == ["complete"] * 2
    assert found.best is not None and found.best.value == max(trial["value"] for trial in found.trials)
    search = records.load_search(lake, LINE, "first")
    rows = lake.datasets.load(LINE, search.dataset_version).rows.to_pylist()
    night = lake.datasets.load(LINE, search.of).rows.to_pylist()
    assert {row["split"] for row in rows} == {"train", "val"} and search.of == before["versions"][-1]
    tested = {row["frame_oid"] for row in night if row["split"] == "test"}
    assert tested and not tested & {row["frame_oid"] for row in rows}, "the test split is out of reach"
    check_value(installation, search.dataset_version, found.trials[0])

    assert left_alone(installation) == before
    for trial in found.trials:
        assert lake.store.head(trained_key(trial["run_key"])) and not lake.store.head(result_key(trial["run_key"]))
    check_shown(installation, dump(found))


def check_value(settings: Settings, version: str, trial: dict[str, Any]) -> None:
    """A trial's value is that of its weights on the validation frames, measured by hand."""
    import cv2

    lake, line = open_lake(settings), open_session().line(LINE)
    trained = read(lake, trained_key(trial["run_key"]), Trained)
    assert trained is not None and trained.weights_oid == trial["weights_oid"]
    model = ModelRef(
        model_version="by hand", weights_oid=trained.weights_oid, classes=tuple(line.classes),
        options={"imgsz": trained.setup["imgsz"], "predict": trained.recipe["predict"]},
    )  # fmt: skip
    rows = [row for row in lake.datasets.load(LINE, version).rows.to_pylist() if row["split"] == "val"]
    predictor = DETECTION.predictors.load(lake, model, None)
    pictures = [cv2.imread(str(lake.blobs.fetch(row["frame_oid"])), cv2.IMREAD_COLOR) for row in rows]
    outputs = [predictor.predict([picture])[0] for picture in pictures]
    table = DETECTION.metrics.tabulate(outputs, rows, model.classes, line)
    value = measured(DETECTION.metrics.judge(table, rows, line), len(rows))["AP50"]
    assert trial["value"] == trial["metrics"]["AP50"] == pytest.approx(value, abs=1e-9)


def check_shown(settings: Settings, report: dict[str, Any]) -> None:
    """The report stands alone, MLflow shows the run, and the stored summary is found again."""
    lake, registry = open_lake(settings), open_registry(settings)
    page = lake.blobs.get_bytes(report["report_oid"]).decode()
    assert not re.search(r"""(src|href)=["']?(https?:)?//|@import|url\(\s*["']?http""", page), "nothing is fetched"
    assert page.count("<figure>") >= 2 and report["best"]["trial"] in page and "The test split was not touched" in page
    run = registry.client.get_run(report["mlflow_run"])
    assert run.data.tags["nightscope.kind"] == "search" and run.info.status == "FINISHED"
    assert run.data.tags["nightscope.best"] == report["best"]["trial"]
    names = {each.path for each in registry.client.list_artifacts(report["mlflow_run"])}
    assert names == {"report.html", "trials.csv", "search.json", "optuna-journal.log"}
    again = experiments.find_summary(open_session(), LINE, "first")
    assert dump(again) == report
    assert [search.name for search in experiments.list_searches(open_session(), LINE)][:1] == ["first"]


def test_what_is_finished_is_not_run_again_and_more_trials_go_on(installation: Settings) -> None:
    session = open_session()
    before = documents(installation, "first")
    same = experiments.run_search(session, LINE, {}, SPACE, sampler="random", trials=2, search="first", seed=1)
    after = documents(installation, "first")
    assert {key: after[key] for key in after if "trials/" in key} == {
        key: before[key] for key in before if "trials/" in key
    }
    more = experiments.run_search(session, LINE, {}, SPACE, sampler="random", trials=3, search="first", seed=1)
    assert (
        more.trials[:2] == same.trials and more.trials[2]["state"] == "complete" and more.mlflow_run == same.mlflow_run
    )
    with pytest.raises(ConfigError, match=r"'first' is there already.*expected seed 1; found seed 2"):
        experiments.plan_search(session, LINE, {}, SPACE, sampler="random", trials=3, search="first", seed=2)


def test_a_search_killed_in_a_trial_ends_as_if_nothing_had_happened(installation: Settings, tmp_path: Path) -> None:
    lake, session = open_lake(installation), open_session()
    space = tmp_path / "space.yaml"
    space.write_text("lr0: {low: 0.001, high: 0.02, log: true}\noptimizer: [AdamW, SGD]\n")
    asked = command("search", LINE, "--space", str(space), "--trials", "2", "--sampler", "tpe", "--seed", "4",
                    "--set", "epochs=5", "--json")  # fmt: skip
    first = subprocess.Popen([*asked, "--name", "killed"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    # It dies in the middle of its second trial, when that has left a checkpoint.
    search = wait_for(lambda: records.find_search(lake, LINE, "killed"), first)
    plan = wait_for(lambda: records.find_plan(lake, search, 2), first)
    line = session.line(LINE, {**search.changes, **plan.params})
    key = run_key(lake, line, search.dataset_version, DETECTION)
    wait_for(lambda: lake.store.head(checkpoint_key(key)), first)
    os.kill(first.pid, signal.SIGKILL)
    first.communicate()
    assert first.returncode == -signal.SIGKILL
    assert records.find_result(lake, search, 1) and not records.find_result(lake, search, 2), "killed in a trial"
    kept = documents(installation, "killed")

    second = subprocess.run([*asked, "--name", "killed"], capture_output=True, text=True, check=False)
    assert second.returncode == 0, second.stderr
    report = json.loads(second.stdout)
    assert "going on from the checkpoint of epoch" in second.stderr and "trial killed#1 " not in second.stderr
    assert [trial["state"] for trial in report["trials"]] == ["complete"] * 2
    assert documents(installation, "killed").items() >= {k: v for k, v in kept.items() if "trials/" in k}.items()

    # The same without a kill: another process draws the same values, and what was killed is trained from nothing.
    lake.store.remove(trained_key(report["trials"][1]["run_key"]))
    values = experiments.read_space(space.read_text(), "space")
    whole = dump(experiments.run_search(session, LINE, {"epochs": 5}, values, sampler="tpe", trials=2, search="whole",
                                        seed=4))  # fmt: skip
    compared = [[{name: trial[name] for name in COMPARED} for trial in each["trials"]] for each in (report, whole)]
    assert compared[0] == compared[1]
    assert report["best"]["number"] == whole["best"]["number"] and report["best"]["value"] == whole["best"]["value"]


def a_result(number: int, params: dict[str, Any], score: float, epochs: int = 60) -> TrialResult:
    return TrialResult(
        number=number, params=params, changes=params, state="complete", value=score, metrics={"AP50": score},
        epochs=tuple((epoch, score) for epoch in range(1, epochs + 1)), run_key="", weights_oid=None, code_version="",
        seconds=1.0, at=now(),
    )  # fmt: skip


def test_a_trial_that_comes_to_nothing_is_ended_early(installation: Settings) -> None:
    lake, session = open_lake(installation), open_session()
    space = {"lr0": [0.001, 0.002, 0.003, 0.004, 0.005]}
    planned = experiments.plan_search(session, LINE, {"epochs": 60}, space, sampler="grid", search="pruned")
    search = records.load_search(lake, LINE, "pruned")
    assert search.pruner == "median" and planned.trials == (1, 2, 3, 4, 5)
    for number in (1, 2, 3, 4):  # as if four others had done well from the beginning
        records.save_result(lake, search, a_result(number, {"lr0": space["lr0"][number - 1]}, 0.99))
    found = experiments.run_trial(session, LINE, "pruned", 5)
    assert found.state == "pruned" and found.value is None and 0 < found.epochs[-1][0] < 10
    assert not lake.store.head(trained_key(found.run_key)) and not lake.store.head(checkpoint_key(found.run_key))
    assert experiments.run_trial(session, LINE, "pruned", 5) == found
    summary = experiments.summarise_search(session, LINE, "pruned")
    assert summary.complete and summary.best is not None and summary.best.number == 1
    with pytest.raises(NotFound, match="it was ended early"):
        session.line(LINE, {"from_search": "pruned#5"})


def test_a_crashed_trial_loses_no_other_and_is_made_up_for(installation: Settings) -> None:
    lake, session = open_lake(installation), open_session()
    space = {"lr0": [0.004, 0.008]}
    experiments.plan_search(session, LINE, {}, space, sampler="grid", search="crashed")
    search = records.load_search(lake, LINE, "crashed")
    plan = study.draw(search, 1, [], [])
    records.save_plan(lake, search, plan)
    key = checkpoint_key(run_key(lake, session.line(LINE, plan.params), search.dataset_version, DETECTION))
    write(lake, key, Checkpoint(oid=lake.blobs.put_bytes(b"no checkpoint"), epoch=1, history=(), setup={}))

    run = airflow(installation, {"line": LINE, "space": json.dumps(space), "sampler": "grid", "name": "crashed"})
    assert run["tasks"] == {
        "plan_search[-1]": "success", "run_trial[0]": "failed", "run_trial[1]": "success",
        "summarise_search[-1]": "failed",
    }  # fmt: skip
    failed = experiments.find_summary(session, LINE, "crashed")
    assert [trial["state"] for trial in failed.trials] == ["failed", "complete"] and not failed.complete
    assert "exit code 1" in failed.trials[0]["why"] and failed.best is not None and failed.best.number == 2
    assert open_registry(installation).client.get_run(failed.mlflow_run).info.status == "FAILED"

    lake.store.remove(key)
    again = subprocess.run(
        command("search", LINE, "--space", json.dumps(space), "--sampler", "grid", "--name", "crashed", "--json"),
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert again.returncode == 0, again.stderr
    report = json.loads(again.stdout)
    assert report["complete"] and report["trials"][1] == failed.trials[1]
    assert report["mlflow_run"] == failed.mlflow_run


def airflow(settings: Settings, conf: dict[str, Any]) -> dict[str, Any]:
    """Run the DAG through `dag.test()`, in a process and an Airflow of its own."""
    script = f"""
import json
from airflow.dag_processing.dagbag import DagBag
bag = DagBag({str(HOME / "dags" / "search.py")!r})
assert not bag.import_errors, bag.import_errors
run = bag.dags["search"].test(run_conf=json.loads({json.dumps(conf)!r}))
tasks = {{f"{{i.task_id}}[{{i.map_index}}]": str(i.state) for i in run.get_task_instances()}}
print(json.dumps({{"state": str(run.state), "tasks": tasks}}))
"""
    done = subprocess.run(
        [sys.executable, "-c", script], env=airflow_environment(settings), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-6000:]
    return dict(json.loads(done.stdout.strip().splitlines()[-1]))


def test_the_winners_night_is_an_ordinary_one_whose_evidence_names_the_trial(installation: Settings) -> None:
    session = open_session()
    experiments.run_search(session, LINE, {"epochs": 2}, {"lr0": [0.004, 0.008]}, sampler="grid", search="lr")
    best = experiments.find_summary(session, LINE, "lr").best
    assert best is not None
    wanted = {"from_search": best.trial}
    assert session.line(LINE, wanted).recipe.changes | best.changes == session.line(LINE, wanted).recipe.changes
    with pytest.raises(ConfigError, match=r"lr0: set to something else than trial lr#\d has"):
        session.line(LINE, {**wanted, "lr0": 0.5})

    steps.check_request(session, LINE, wanted)
    news = steps.check_news(session, LINE, wanted).news
    validation = steps.validate_labels(session, LINE, wanted)
    version = steps.freeze_dataset(session, LINE, wanted, validation.validation_oid, force=True).dataset_version
    training = steps.train_challenger(session, LINE, wanted, version)
    oid = steps.evaluate_models(session, LINE, wanted, version, training.model_version).evaluation_oid
    verdict = steps.decide_verdict(session, LINE, wanted, oid, RegisteredTraining.model_validate(dump(training)))
    promoted = steps.promote_model(session, LINE, wanted, verdict.verdict_id, news=news)

    entry = evidence.find(session.lake, LINE, "night", verdict.verdict_id)
    assert entry is not None and entry.number == promoted.evidence
    bundle = chain.load(session.lake, entry.bundle_oid)
    assert bundle.search is not None and bundle.search.trial == best.trial and bundle.search.same_values
    assert bundle.search.value == best.value and bundle.search.values == best.changes and bundle.search.trials == 2
    assert bundle.search.key in {one.key for one in bundle.objects} and bundle.card_oid is not None
    assert f"trial `{best.trial}`" in session.lake.blobs.get_bytes(bundle.card_oid).decode()
    with pytest.raises(NothingToDo):
        steps.check_news(session, LINE, wanted)


def test_a_search_is_not_trained_as_a_challenger(installation: Settings) -> None:
    session = open_session()
    experiments.plan_search(session, LINE, {}, SPACE, search="planned")
    version = records.load_search(session.lake, LINE, "planned").dataset_version
    with pytest.raises(DataError, match="made for an experiment"):
        steps.train_challenger(session, LINE, {}, version)


def test_a_trial_that_a_library_ends_is_filed_and_loses_no_other(
    installation: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def train(*_: Any) -> Any:
        raise RuntimeError("CUDA out of memory")

    monkeypatch.setattr(trials, "train_unregistered", train)
    found = experiments.run_search(open_session(), LINE, {}, {"lr0": [0.004, 0.008]}, sampler="grid", search="memory")
    assert [trial["why"] for trial in found.trials] == ["CUDA out of memory"] * 2 and not found.complete


def test_a_line_whose_classes_have_changed_is_searched_after_its_next_night(
    installation: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    session, line = open_session(), open_session().line(LINE)
    more = line.model_copy(update={"classes": {**line.classes, "cell": ClassSpec()}})
    monkeypatch.setattr(type(session), "line", lambda *_: more)
    with pytest.raises(ConfigError, match=r"its classes are others.*expected sperm.*found sperm.*cell"):
        experiments.plan_search(session, LINE, {}, SPACE, search="classes")


def test_what_cannot_be_searched_is_refused_before_the_first_trial(installation: Settings) -> None:
    session = open_session()
    with pytest.raises(ConfigError, match=r"momentun.*batch"):
        experiments.plan_search(session, LINE, {}, {"momentun": [0.9], "batch": ["many"]}, search="refused")
    with pytest.raises(ConfigError, match="no metric 'AP5O'"):
        experiments.plan_search(session, LINE, {}, SPACE, search="refused", metric="AP5O")
    with pytest.raises(ConfigError, match=r"no slice 'class\.cells'; expected one of: class\.sperm"):
        experiments.plan_search(session, LINE, {}, SPACE, search="refused", where="class.cells")
    with pytest.raises(ConfigError, match="cannot be called that"):
        experiments.plan_search(session, LINE, {}, SPACE, search="../night")
    assert not documents(installation, "refused")
    with pytest.raises(NotFound, match="no search 'none'"):
        experiments.run_trial(session, LINE, "none", 1)
