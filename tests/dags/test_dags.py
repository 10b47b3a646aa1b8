"""House rules of the DAGs."""

from __future__ import annotations

import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

import tasks
from tasks.config import load_lines, load_settings
from tasks.schemas import now

HOME = Path(__file__).resolve().parents[2]
LINES = load_lines(load_settings().lines_dir)


def test_the_tasks_package_is_ours() -> None:
    # `tasks` is a generic name, and Airflow imports plugins by their stem: a neighbour could take its place.
    assert Path(tasks.__file__).resolve() == HOME / "tasks" / "__init__.py"


def test_every_dag_file_imports(dag_bag) -> None:
    assert dag_bag.import_errors == {}
    own = {"cross_validate", "ingest_recordings", "maintain_lake", "promote", "rollback", "sync_annotations"}
    own |= {"search", "verify_evidence"}
    assert set(dag_bag.dags) == own | {line.dag_id for line in LINES}


def test_every_dag_says_what_it_does_and_what_to_do_when_it_fails(dag_bag) -> None:
    for dag in dag_bag.dags.values():
        assert "nightscope" in dag.tags, dag.dag_id
        assert dag.doc_md and dag.doc_md.lstrip().startswith("# "), dag.dag_id
        assert "**On failure**" in dag.doc_md, dag.dag_id
        assert dag.max_active_runs == 1 and dag.catchup is False, dag.dag_id


def test_every_task_retries_with_backoff(dag_bag) -> None:
    for dag in dag_bag.dags.values():
        for task in dag.tasks:
            assert task.retries >= 1 and task.retry_exponential_backoff, f"{dag.dag_id}.{task.task_id}"


def test_what_computes_goes_to_the_machines_with_gpus_and_nothing_else_does(dag_bag) -> None:
    every = [task for dag in dag_bag.dags.values() for task in dag.tasks]
    on_gpu = {task.task_id: task for task in every if task.queue == "gpu"}
    assert {"train_challenger", "evaluate_models"} <= set(on_gpu)
    for task in every:
        assert task.queue in ("gpu", "default") and (task.pool == "gpu") == (task.queue == "gpu"), task.task_id
    for task in on_gpu.values():  # a killed worker is noticed after 23 s; Airflow waits once to twice the delay
        assert task.retry_delay <= timedelta(seconds=1), task.task_id


@pytest.mark.parametrize("line", LINES, ids=lambda line: line.line)
def test_every_line_has_its_night(dag_bag, line) -> None:
    dag = dag_bag.dags[line.dag_id]
    assert [task.task_id for task in dag.topological_sort()] == [
        "ingest_recordings", "sync_annotations", "check_news", "validate_labels", "freeze_dataset",
        "train_challenger", "evaluate_models", "decide_verdict", "promote_model",
    ]  # fmt: skip
    training = dag.get_task("train_challenger")
    assert training.queue == "gpu" and training.pool == "gpu"


def test_every_field_of_every_form_is_typed_titled_and_explained(dag_bag) -> None:
    for dag in dag_bag.dags.values():
        titles = []
        for name in dag.params:
            param = dag.params.get_param(name)
            assert param.description and "type" in param.schema, f"{dag.dag_id}.{name}"
            titles.append(param.schema["title"])
            assert titles[-1] != name and titles[-1][0].isupper() and "_" not in titles[-1], f"{dag.dag_id}.{name}"
        assert len(titles) == len(set(titles)), f"{dag.dag_id}: two fields of one title"
    for line in LINES:
        assert {f"gate.{gate.id}" for gate in line.gates} <= set(dag_bag.dags[line.dag_id].params)


def test_every_form_may_be_left_as_it_is(dag_bag) -> None:
    # Airflow's form takes a field for required unless its type admits null, and greys *Trigger* out while it is empty.
    for dag in dag_bag.dags.values():
        for name in dag.params:
            param = dag.params.get_param(name)
            assert "null" in param.schema["type"] or param.value not in (None, ""), f"{dag.dag_id}.{name}"
        dag.params.validate()


def test_every_dag_has_a_name_that_people_read(dag_bag) -> None:
    for dag in dag_bag.dags.values():
        assert dag.dag_display_name != dag.dag_id and "_" not in dag.dag_display_name, dag.dag_id


def test_no_dag_can_be_backfilled(dag_bag) -> None:
    # A night looks at what there is now: a backfill of a month would run the same one thirty times.
    for dag in dag_bag.dags.values():
        assert dag.allowed_run_types, dag.dag_id
        assert "backfill" not in {str(kind.value) for kind in dag.allowed_run_types}, dag.dag_id


def test_no_task_may_hang_for_ever(dag_bag) -> None:
    for dag in dag_bag.dags.values():
        for task in dag.tasks:
            assert task.execution_timeout, f"{dag.dag_id}.{task.task_id}"
    from nightscope_airflow.defaults import LONG

    (weekly,) = dag_bag.dags["verify_evidence"].tasks
    assert weekly.execution_timeout == LONG, "it reads all that the evidence of every line names"
    for line in LINES:
        dag = dag_bag.dags[line.dag_id]
        assert dag.get_task("train_challenger").execution_timeout == timedelta(hours=line.max_training_h)
        assert dag.dagrun_timeout > sum((task.execution_timeout for task in dag.tasks), timedelta())


def test_parsing_is_light_and_touches_no_database(tmp_path) -> None:
    # Every task pays for what its DAG file imports: torch alone would cost 4 s each.
    script = f"""
import sys
from sqlalchemy import event, Engine
queries = []
event.listen(Engine, "before_cursor_execute", lambda c, cur, statement, *a: queries.append(statement))
from airflow.dag_processing.dagbag import DagBag
bag = DagBag({str(HOME / "dags")!r})
assert not bag.import_errors, bag.import_errors
heavy = {{"torch", "ultralytics", "cv2", "great_expectations", "mlflow", "label_studio_sdk", "av", "pyiceberg"}}
assert not heavy & set(sys.modules), heavy & set(sys.modules)
assert len(queries) <= 1, queries
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]


def test_a_line_that_asks_for_a_person_has_a_step_that_waits(tmp_path) -> None:
    shipped = (HOME / "dags/lines/sperm-detector.yaml").read_text()
    assert "approval: none" in shipped
    plan = "approval: {required: true, timeout_h: 5, assigned_to: [ana]}"
    (tmp_path / "sperm-detector.yaml").write_text(shipped.replace("approval: none", plan))
    script = f"""
import os
from datetime import timedelta
os.environ["NIGHTSCOPE_LINES_DIR"] = {str(tmp_path)!r}
from airflow.dag_processing.dagbag import DagBag
bag = DagBag({str(HOME / "dags" / "retrain.py")!r})
assert not bag.import_errors, bag.import_errors
dag = bag.dags["retrain_sperm_detector"]
order = [task.task_id for task in dag.topological_sort()]
assert order[-3:] == ["decide_verdict", "approve_promotion", "promote_model"], order
asks, promotes = dag.get_task("approve_promotion"), dag.get_task("promote_model")
assert asks.options == ["Approve", "Hold"] and asks.defaults == ["Hold"], asks.options
assert asks.response_timeout == timedelta(hours=5), asks.response_timeout
assert asks.assigned_users == [{{"id": "ana", "name": "ana"}}], asks.assigned_users
assert list(asks.serialized_params) == ["note"], asks.serialized_params
assert asks.serialized_params["note"]["description"].startswith("Why; kept"), "the person's note, not the run's"
assert asks.retries >= 1 and "5 hours" in dag.doc_md
steps = sum((task.execution_timeout for task in dag.tasks), timedelta())
assert dag.dagrun_timeout > steps + timedelta(hours=5), "a night is not ended while it waits for the person"
# Not asked (a reject, a dry run): the verdict is recorded all the same. Nothing new: skipped with the night.
assert promotes.trigger_rule == "none_failed_min_one_success", promotes.trigger_rule
assert promotes.upstream_task_ids == {{"decide_verdict", "approve_promotion"}}, promotes.upstream_task_ids
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]


def test_whoever_changes_a_champion_takes_turns_and_says_so(dag_bag) -> None:
    for dag_id, task_id in (
        ("promote", "promote_version"), ("rollback", "roll_back"), (LINES[0].dag_id, "promote_model")
    ):  # fmt: skip
        task = dag_bag.dags[dag_id].get_task(task_id)
        assert task.pool == "promotion" and task.outlets, dag_id
    for dag_id, fields in (
        ("promote", {"line", "version", "note", "override"}),
        ("rollback", {"line", "version", "note"}),
    ):
        params = dag_bag.dags[dag_id].params
        assert set(params) == fields
        assert params.get_param("line").schema["enum"] == [*(line.line for line in LINES), None], "one is chosen"


def test_a_broken_line_does_not_take_the_others_with_it(tmp_path) -> None:
    (tmp_path / "good.yaml").write_text((HOME / "dags/lines/sperm-detector.yaml").read_text().replace(
        "line: sperm-detector", "line: good"))  # fmt: skip
    (tmp_path / "bad-line.yaml").write_text("line: bad-line\nkind: telepathy\n")
    script = f"""
import os
os.environ["NIGHTSCOPE_LINES_DIR"] = {str(tmp_path)!r}
from airflow.dag_processing.dagbag import DagBag
bag = DagBag({str(HOME / "dags" / "retrain.py")!r})
assert not bag.import_errors, bag.import_errors
assert set(bag.dags) == {{"retrain_good", "retrain_bad_line"}}, set(bag.dags)
assert "no such kind of line" in bag.dags["retrain_bad_line"].doc_md, bag.dags["retrain_bad_line"].doc_md
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]


def test_a_new_stack_does_not_begin_with_last_nights_run(dag_bag) -> None:
    from airflow.serialization.decoders import decode_timetable
    from airflow.serialization.encoders import encode_timetable
    from airflow.timetables.base import TimeRestriction

    for dag in dag_bag.dags.values():
        if dag.timetable.can_be_scheduled is False:
            continue
        scheduled = decode_timetable(encode_timetable(dag.timetable))
        first = scheduled.next_dagrun_info(
            last_automated_data_interval=None, restriction=TimeRestriction(dag.start_date, None, catchup=False)
        )
        assert first is not None and first.run_after > now(), dag.dag_id
