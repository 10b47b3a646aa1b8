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
