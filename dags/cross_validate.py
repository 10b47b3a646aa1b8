"""# Cross-validate

Trains and tests a line's recipe K times, so that every donor (else recording) is tested exactly once, by a model that
has never seen it. For small sets, whose one test split says little. Nothing is registered: the champion and the nights
are untouched.

Runs on demand. The result is a table in MLflow, in the line's experiment (tag `nightscope.kind = cross-validation`):
mean, interval, and each fold's score, overall and per class.

**On failure**: a red `run_fold` says in its log why its fold failed; the other folds are kept, and `summarise_folds`
sums them up before it turns red. After mending, clear the red fold: finished folds are not run again.
"""

from __future__ import annotations

from typing import Any

from airflow.sdk import Param, dag, get_current_context, task
from nightscope_airflow.defaults import ON_GPU, dag_defaults, longest_training
from nightscope_airflow.failures import translated
from nightscope_airflow.manual_runs import chosen_line, line_field
from nightscope_airflow.params import refuse_unknown_conf

_PARAMS = {
    "line": line_field("Whose recipe, on whose frames."),
    "folds": Param(
        5, type=["null", "integer"], minimum=2, maximum=100, title="Folds",
        description="How many times it trains, each time tested on other donors. At most one for each donor.",
    ),
    "seed": Param(
        0, type=["null", "integer"], minimum=0, maximum=2**31 - 1, title="Seed of the folds",
        description="Another seed makes other folds. The training's own seed is a change: {\"seed\": 1}.",
    ),
    "dataset_version": Param(
        None, type=["null", "string"], pattern="^[0-9a-f]{64}$", title="Dataset version",
        description="Whose frames, by its 64 letters and digits. Empty: the newest that a night froze.",
    ),
    "changes": Param(
        {}, type=["null", "object"], title="Changes of the recipe",
        description='As JSON, e.g. {"epochs": 20, "imgsz": 640}. Empty: as the line\'s file says.',
    ),
}  # fmt: skip


def _wanted() -> dict[str, Any]:
    """What the form says, with what it leaves empty."""
    params = get_current_context()["params"]
    empty = {"folds": 5, "seed": 0, "changes": {}}
    return {**params, **{key: params[key] or value for key, value in empty.items()}, "line": chosen_line()}


@dag(
    dag_display_name="Cross-validate a line",
    schedule=None,
    params=_PARAMS,
    doc_md=__doc__,
    **dag_defaults("experiment"),
)
def cross_validate() -> None:
    @task
    @translated
    def plan_folds() -> list[str]:
        from tasks import experiments
        from tasks.session import open_session

        refuse_unknown_conf()
        wanted = _wanted()
        own = {key: wanted[key] for key in ("folds", "seed", "dataset_version")}
        with open_session() as session:
            return list(experiments.plan_folds(session, wanted["line"], wanted["changes"], **own).folds)

    @task(**ON_GPU, execution_timeout=longest_training())
    @translated
    def run_fold(fold: str) -> dict[str, Any]:
        from tasks import experiments
        from tasks.session import open_session

        wanted = _wanted()
        with open_session() as session:
            return experiments.run_fold(session, wanted["line"], wanted["changes"], fold).model_dump(mode="json")

    @task(trigger_rule="all_done")
    @translated
    def summarise_folds(folds: list[str] | None) -> str:
        from tasks import experiments
        from tasks.session import open_session

        wanted = _wanted()
        line, changes = wanted["line"], wanted["changes"]
        with open_session() as session:
            return experiments.summarise_folds(session, line, changes, folds, must_be_complete=True).mlflow_run

    folds = plan_folds()
    run_fold.expand(fold=folds) >> summarise_folds(folds)


cross_validate()
