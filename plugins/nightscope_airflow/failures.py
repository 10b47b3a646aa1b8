"""Our errors in Airflow's words. Nothing else translates.

| ours | Airflow's | so that |
|---|---|---|
| `NothingToDo` | skip | a night without news is grey, not red |
| `TransportError`, `StepKilled` and whatever we did not foresee | error | Airflow tries again, with backoff |
| every other `NightscopeError` | fail | a mistake in data or configuration is not repeated three times |

The outcome is also left as an XCom (`outcome`), where `nightscope run` reads the reason.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from airflow.sdk import get_current_context
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from tasks.errors import InsufficientData, NightscopeError, NothingToDo, StepKilled, TransportError

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
        except Exception as error:
            _leave_outcome("failed", error)
            raise

    return run


def _leave_outcome(state: str, error: Exception) -> None:
    reason = str(error) if isinstance(error, NightscopeError) else f"{type(error).__name__}: {error}"
    get_current_context()["ti"].xcom_push(OUTCOME, {"state": state, "reason": reason})
