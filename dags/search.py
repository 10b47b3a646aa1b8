"""# Search for better values

Trains a line's recipe with many values, measures each model on the validation split, and names the best. The test split
is not touched: nothing is registered, and the champion and the nights are as they were.

Runs on demand. The result is a report, a table and a run in MLflow, in the line's experiment (tag `nightscope.kind =
search`). The winner's values go through a night like any others: trigger the line's *Retrain* with *Values found by a
search*, or `nightscope run LINE --from-search NAME`.

**On failure**: a red `run_trial` says in its log why its trial failed; the other trials are kept, and
`summarise_search` sums them up before it turns red. After mending, clear the red trial, or trigger the same again:
finished trials are not run again.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import Param, dag, get_current_context, task
from nightscope_airflow.defaults import ON_GPU, dag_defaults, longest_training
from nightscope_airflow.failures import translated
from nightscope_airflow.manual_runs import chosen_line, line_field
from nightscope_airflow.params import refuse_unknown_conf
from nightscope_airflow.turns import wait_for_turn

from tasks.lake.searches import SEARCH_NAME

_EXAMPLE = "lr0: {low: 0.0005, high: 0.02, log: true}"

_PARAMS = {
    "line": line_field("Whose recipe, on whose frames."),
    "space": Param(
        None, type=["null", "string"], format="multiline", title="Values to try",
        description=f"As YAML or JSON: a recipe key with its values, or with low and high, e.g. `{_EXAMPLE}`.",
    ),
    "trials": Param(
        None, type=["null", "integer"], minimum=1, maximum=1000, title="Trials",
        description="How many combinations are trained. Empty: 20, or all of a grid.",
    ),
    "sampler": Param(
        "tpe", type=["null", "string"], enum=["tpe", "random", "grid"], title="Sampler",
        description="tpe learns from the trials before; random does not; grid tries every combination of lists.",
    ),
    "seed": Param(
        0, type=["null", "integer"], minimum=0, maximum=2**31 - 1, title="Seed of the search",
        description="Another seed draws other values. The training's own seed is a change: {\"seed\": 1}.",
    ),
    "max_parallel": Param(
        1, type=["null", "integer"], minimum=1, maximum=100, title="Trials at once",
        description="No more than this are in flight; each also needs a free GPU. With tpe, fewer learn more.",
    ),
    "name": Param(
        None, type=["null", "string"], pattern=f"^{SEARCH_NAME}$", title="Name of the search",
        description="A search of this name goes on where it was. Empty: a name that follows from what is asked.",
    ),
    "metric": Param(
        None, type=["null", "string"], title="Metric that decides",
        description="As in the line's gates, e.g. AP50. Empty: the main one of the line's kind.",
    ),
    "dataset_version": Param(
        None, type=["null", "string"], pattern="^[0-9a-f]{64}$", title="Dataset version",
        description="Whose frames, by its 64 letters and digits. Empty: the newest that a night froze.",
    ),
    "changes": Param(
        {}, type=["null", "object"], title="Changes of the recipe",
        description='For every trial, as JSON, e.g. {"epochs": 20}. Empty: as the line\'s file says.',
    ),
}  # fmt: skip


def _wanted() -> dict[str, Any]:
    """What the form says, with what it leaves empty."""
    params = get_current_context()["params"]
    empty = {"sampler": "tpe", "seed": 0, "max_parallel": 1, "changes": {}, "space": ""}
    return {**params, **{key: params[key] or value for key, value in empty.items()}, "line": chosen_line()}


@dag(
    dag_display_name="Search for better values",
    schedule=None,
    params=_PARAMS,
    doc_md=__doc__,
    **dag_defaults("experiment"),
)
def search() -> None:
    @task(multiple_outputs=False)
    @translated
    def plan_search() -> list[dict[str, Any]]:
        from tasks import experiments
        from tasks.session import open_session

        refuse_unknown_conf()
        wanted = _wanted()
        own = {key: wanted[key] for key in ("sampler", "trials", "seed", "metric", "dataset_version")}
        space = experiments.read_space(wanted["space"], "Values to try")
        with open_session() as session:
            planned = experiments.plan_search(
                session, wanted["line"], wanted["changes"], space, search=wanted["name"], **own
            )
        return [{"search": planned.search, "number": number} for number in planned.trials]

    @task(**ON_GPU, execution_timeout=longest_training(), map_index_template="trial {{ number }}")
    @translated
    def run_trial(search: str, number: int) -> dict[str, Any]:
        from tasks import experiments
        from tasks.session import open_session

        context, wanted = get_current_context(), _wanted()
        context["number"] = number  # for the name of this box in the grid
        wait_for_turn(wanted["max_parallel"], again_in=timedelta(seconds=20))
        with open_session() as session:
            result = experiments.run_trial(session, wanted["line"], search, number)
        return result.model_dump(mode="json", include={"number", "params", "state", "value"})

    @task(trigger_rule="all_done")
    @translated
    def summarise_search(trials: list[dict[str, Any]] | None) -> dict[str, Any]:
        from tasks import experiments
        from tasks.session import open_session

        name = trials[0]["search"] if trials else None
        with open_session() as session:
            found = experiments.summarise_search(session, chosen_line(), name, must_be_complete=True)
        return found.model_dump(mode="json", include={"search", "best", "command", "report", "mlflow_run"})

    trials = plan_search()
    run_trial.expand_kwargs(trials) >> summarise_search(trials)


search()
