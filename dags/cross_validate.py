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
from nightscope_airflow.defaults import GPU_POOL, GPU_QUEUE, dag_defaults
from nightscope_airflow.failures import translated
from nightscope_airflow.params import refuse_unknown_conf

from tasks.config import load_settings

_lines = sorted(path.stem for path in load_settings().lines_dir.glob("*.yaml"))
_PARAMS = {
    "line": Param(
        _lines[0] if _lines else "", type="string", **({"enum": _lines} if _lines else {}),
        description="Whose recipe, on whose data.",
    ),
    "folds": Param(5, type="integer", minimum=2, maximum=100, description="At most one for each donor."),
    "seed": Param(
        0, type="integer", minimum=0, maximum=2**31 - 1,
        description="Another seed makes other folds. The training's own seed is a change: {\"seed\": 1}.",
    ),
    "dataset_version": Param(
        None, type=["null", "string"], pattern="^[0-9a-f]{64}$",
        description="Whose frames. Empty: the newest dataset version that a night froze.",
    ),
    "changes": Param(
        {}, type="object",
        description='What to change of the line\'s recipe, as JSON, e.g. {"epochs": 20, "imgsz": 640}.',
    ),
}  # fmt: skip


@dag(
    schedule=None,
    params=_PARAMS,
    doc_md=__doc__,
    **dag_defaults("experiment"),
)
def cross_validate() -> None:
    @task
    @translated
    def plan_folds() -> list[str]:
        from tasks import steps

        refuse_unknown_conf()
        wanted = get_current_context()["params"]
        own = {key: wanted[key] for key in ("folds", "seed", "dataset_version")}
        return steps.plan_folds(wanted["line"], wanted["changes"], **own)

    @task(pool=GPU_POOL, queue=GPU_QUEUE)
    @translated
    def run_fold(fold: str) -> dict[str, Any]:
        from tasks import steps

        wanted = get_current_context()["params"]
        return steps.run_fold(wanted["line"], wanted["changes"], fold)

    @task(trigger_rule="all_done")
    @translated
    def summarise_folds(folds: list[str] | None) -> str:
        from tasks import steps

        wanted = get_current_context()["params"]
        return steps.summarise_folds(wanted["line"], wanted["changes"], folds, must_be_complete=True)["mlflow_run"]

    folds = plan_folds()
    run_fold.expand(fold=folds) >> summarise_folds(folds)


cross_validate()
