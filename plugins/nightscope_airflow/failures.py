"""Our errors in Airflow's words. Nothing else translates.

| ours | Airflow's | so that |
|---|---|---|
| `NothingToDo` | skip | a night without news is grey, not red |
| Airflow's own timeout (`execution_timeout`) | fail | what took too long once is not begun three times more |
| `TransportError`, `StepKilled` and whatever we did not foresee | error | Airflow tries again, with backoff |
| every other `NightscopeError` | fail | a mistake in data or configuration is not repeated three times |

The outcome is also left as an XCom (`outcome`), where `nightscope run` reads the reason.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from datetime import timedelta
from typing import ParamSpec, TypeVar

from airflow.sdk import get_current_context
from airflow.sdk.exceptions import (
    AirflowFailException,
    AirflowRescheduleException,
    AirflowSkipException,
    AirflowTaskTimeout,
)

from tasks.errors import InsufficientData, NightscopeError, NothingToDo, StepFailed, StepKilled, TransportError

P = ParamSpec("P")
R = TypeVar("R")

OUTCOME = "outcome"


def translated(step: Callable[P, R]) -> Callable[P, R]:
    """Wrap a task's function so that what it raises means the right thing to Airflow."""

    @functools.wraps(step)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return step(*args, **kwargs)
        except NothingToDo as nothing:
            _leave_outcome("skipped", nothing)
            raise AirflowSkipException(str(nothing)) from None
        except (TransportError, StepKilled) as error:
            _leave_outcome("failed", error)
            raise
        except InsufficientData as error:
            _leave_outcome("insufficient_data", error)
            raise AirflowFailException(str(error)) from error
        except NightscopeError as error:
            _leave_outcome("failed", error)
            raise AirflowFailException(str(error)) from error
        except AirflowTaskTimeout:
            error = _too_long()
            _leave_outcome("failed", error)
            raise AirflowFailException(str(error)) from None
        except AirflowRescheduleException:  # not its turn yet
            raise
        except Exception as error:
            _leave_outcome("failed", error)
            raise

    return run


def _too_long() -> StepFailed:
    """What a task says that was ended because it took too long. Steps may be ended anywhere: the next run goes on."""
    task = get_current_context()["task"]
    return StepFailed(
        f"{task.task_id}: ended after {spoken(task.execution_timeout)}, the longest that it may take",
        fix="what is finished is kept. See in this log whether it waited for something (`nightscope status` tells what "
        f"is up) or only needs longer; then clear this task, and it goes on{LIMITS.get(task.task_id, '')}",
    )


LIMITS = dict.fromkeys(
    ("train_challenger", "run_fold"),
    " from its last checkpoint. To give trainings longer, raise max_training_h in the line's file",
)
"""Task id -> where it goes on, and where its time is set."""


def spoken(time: timedelta | None) -> str:
    """A length of time for a person, e.g. '2 hours'."""
    return f"{(time or timedelta()).total_seconds() / 3600:g} hours"


def _leave_outcome(state: str, error: Exception) -> None:
    reason = str(error) if isinstance(error, NightscopeError) else f"{type(error).__name__}: {error}"
    get_current_context()["ti"].xcom_push(OUTCOME, {"state": state, "reason": reason})
