"""Each of our errors means the right thing to Airflow."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tasks import errors


@pytest.fixture
def left(monkeypatch) -> dict[str, object]:
    """What the wrapper leaves as XCom, without a running task."""
    from nightscope_airflow import failures

    kept: dict[str, object] = {}

    class TaskInstance:
        def xcom_push(self, key: str, value: object) -> None:
            kept[key] = value

    monkeypatch.setattr(failures, "get_current_context", lambda: {"ti": TaskInstance()})
    return kept


def _raised_for(error: BaseException) -> type[BaseException]:
    from nightscope_airflow.failures import translated

    @translated
    def step() -> None:
        raise error

    with pytest.raises(BaseException) as caught:
        step()
    return type(caught.value)


@pytest.mark.parametrize(
    ("error", "state"),
    [
        (errors.DataError("x"), "failed"),
        (errors.ConfigError("x"), "failed"),
        (errors.LeakageError("x"), "failed"),
        (errors.StepFailed("x"), "failed"),
        (errors.InsufficientData("x"), "insufficient_data"),
    ],
)
def test_a_mistake_fails_without_retry(left, error, state) -> None:
    from airflow.sdk.exceptions import AirflowFailException

    assert _raised_for(error) is AirflowFailException
    assert left["outcome"] == {"state": state, "reason": "x"}


def test_nothing_to_do_is_a_skip(left) -> None:
    from airflow.sdk.exceptions import AirflowSkipException

    assert _raised_for(errors.NothingToDo("no news")) is AirflowSkipException
    assert left["outcome"] == {"state": "skipped", "reason": "no news"}


@pytest.mark.parametrize(
    "error",
    [errors.StorageUnavailable("x"), errors.StepKilled("x"), OSError("disk"), MemoryError()],
    ids=lambda e: type(e).__name__,
)
def test_what_may_pass_by_itself_is_left_to_airflows_retries(left, error) -> None:
    assert _raised_for(error) is type(error)


def test_what_took_too_long_fails_once_and_says_how_to_go_on(left, monkeypatch) -> None:
    from airflow.sdk.exceptions import AirflowFailException, AirflowTaskTimeout
    from nightscope_airflow import failures

    class Task:
        task_id = "train_challenger"
        execution_timeout = timedelta(hours=24)

    own = failures.get_current_context()
    monkeypatch.setattr(failures, "get_current_context", lambda: {**own, "task": Task})
    assert _raised_for(AirflowTaskTimeout("Timeout, PID: 1")) is AirflowFailException
    reason = left["outcome"]["reason"]
    assert reason.startswith("train_challenger: ended after 24 hours") and "checkpoint" in reason
    assert "max_training_h" in reason and "clear this task" in reason


def test_every_error_of_the_tree_is_drawn_in_the_docstring() -> None:
    tree = errors.__doc__ or ""
    own = [name for name, value in vars(errors).items() if isinstance(value, type) and issubclass(value, Exception)]
    assert own and all(name in tree for name in own)


def test_a_refused_pair_says_in_airflow_how_it_is_cleared(left) -> None:
    """The four parts of the message, and the very command, as the log and `nightscope run` show them."""
    from types import SimpleNamespace

    from airflow.sdk.exceptions import AirflowFailException
    from nightscope_airflow.failures import translated

    from tasks.leakage.findings import Audit, Finding, Side
    from tasks.leakage.refusal import require_passed

    one, other = (Side(split, f"donor:{split}", split, f"{split}.mp4", 7) for split in ("train", "test"))
    finding = Finding("clip", one, other, "what moves is the same")
    audit = Audit("code", 2, 2, 1, 2, (finding,), report_oid="ab" * 32)
    lake = SimpleNamespace(blobs=SimpleNamespace(uri=lambda oid: f"s3://lake/{oid}"))

    @translated
    def freeze() -> None:
        require_passed(lake, "cells", audit)

    with pytest.raises(AirflowFailException) as failed:
        freeze()
    for part in (
        f"train.mp4 frame 7 (train) and test.mp4 frame 7 (test) (what moves is the same) [pair {finding.pair_id}]",
        "expected each group, recording and picture in one split only",
        f"found 1 of them; pictures: s3://lake/{'ab' * 32}",
        f"to fix: look at the pictures: `nightscope audit pair cells {finding.pair_id} --out report.html`",
        f"`nightscope audit clear cells {finding.pair_id} --note 'why'`, then run it again",
    ):
        assert part in str(failed.value)
    assert left["outcome"] == {"state": "failed", "reason": str(failed.value)}
