"""DAGs of nights that begin at their verdict: the newest one in the lake. The rest is the real wiring of `retrain`."""

from __future__ import annotations

import os
from typing import Any

from airflow.sdk import dag, task
from nightscope_airflow.defaults import dag_defaults
from nightscope_airflow.nights import carry_out
from nightscope_airflow.params import form

from tasks.config import Line, load_lines, load_settings


def ending(line: Line) -> Any:
    # Beside the real nights, the browser tests call it something else.
    dag_id = line.dag_id_of(os.environ.get("NIGHTSCOPE_TEST_ENDINGS", "retrain"))

    @dag(dag_id=dag_id, schedule=None, params=form(line, [line.recipe.name]), **dag_defaults("test"))
    def night() -> None:
        @task
        def decide_verdict() -> dict[str, Any]:
            from tasks import operations
            from tasks.session import open_session

            return operations.list_verdicts(open_session(), line.line)[0].model_dump(mode="json")

        carry_out(line, decide_verdict())

    return night()


for _line in load_lines(load_settings().lines_dir):
    globals()[_line.dag_id] = ending(_line)
