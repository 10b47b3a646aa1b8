"""# Maintain the lake

Once a week: merges the tables' small files, and forgets how tables were more than 30 days ago
(`NIGHTSCOPE_CATALOG__KEEP_SNAPSHOTS_DAYS`), but for the states that a dataset version names. Then collects blobs that
no table and no manifest names (what a killed step left behind), and files that no table consists of any more, older
than a week. Recordings, frames, labels and dataset versions are never touched. Then frees space on this machine:
caches, layouts of datasets and scratch that nobody has used for 30 days, or the least recently used beyond a size
(`NIGHTSCOPE_LOCAL_SPACE__KEEP_DAYS`, `..._MOST_GB`), and what killed steps and uploads left behind. All of it is made
again where it is needed. With *Only say what would go* nothing is removed or merged; the tasks' logs have the
numbers.

**On failure**: nothing is lost and nothing waits for it; run it again when the lake answers, and when no training runs.
"""

from __future__ import annotations

from typing import Any

from airflow.sdk import dag, get_current_context, task
from nightscope_airflow.defaults import LAKE_POOL, LONG, cron, dag_defaults
from nightscope_airflow.failures import translated
from nightscope_airflow.params import refuse_unknown_conf, switch

_PARAMS = {"dry_run": switch("Only say what would go", "Nothing is removed; the tasks' logs say what would be.")}


def _dry_run() -> bool:
    refuse_unknown_conf()
    return bool(get_current_context()["params"]["dry_run"])


@dag(
    dag_display_name="Tidy up the lake",
    schedule=cron("30 5 * * 0"),
    params=_PARAMS,
    doc_md=__doc__,
    **dag_defaults("lake"),
)
def maintain_lake() -> None:
    @task(pool=LAKE_POOL, execution_timeout=LONG)
    @translated
    def maintain_tables() -> dict[str, Any]:
        from tasks import steps
        from tasks.session import open_session

        with open_session() as session:
            return steps.maintain_tables(session, dry_run=_dry_run()).model_dump(mode="json")

    @task(pool=LAKE_POOL, execution_timeout=LONG)
    @translated
    def collect_garbage() -> dict[str, Any]:
        from tasks import steps
        from tasks.session import open_session

        with open_session() as session:
            return steps.collect_garbage(session, dry_run=_dry_run()).model_dump(mode="json")

    @task(execution_timeout=LONG)
    @translated
    def free_local_space() -> dict[str, Any]:
        from tasks import steps
        from tasks.session import open_session

        with open_session() as session:
            return steps.free_local_space(session, dry_run=_dry_run()).model_dump(mode="json")

    maintain_tables() >> collect_garbage() >> free_local_space()


maintain_lake()
