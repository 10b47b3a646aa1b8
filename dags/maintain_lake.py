"""# Maintain the lake

Once a week: collects blobs that no table and no manifest names (what a killed step left behind), older than a week.
Recordings, frames, labels and dataset versions are never touched.

**On failure**: nothing is lost and nothing waits for it; run it again when the lake answers.
"""

from __future__ import annotations

from typing import Any

from airflow.sdk import dag, task
from nightscope_airflow.defaults import LAKE_POOL, LONG, cron, dag_defaults
from nightscope_airflow.failures import translated


@dag(
    dag_display_name="Tidy up the lake",
    schedule=cron("30 5 * * 0"),
    doc_md=__doc__,
    **dag_defaults("lake"),
)
def maintain_lake() -> None:
    @task(pool=LAKE_POOL, execution_timeout=LONG)
    @translated
    def collect_garbage() -> dict[str, Any]:
        from tasks import steps
        from tasks.session import open_session

        with open_session() as session:
            return steps.collect_garbage(session).model_dump(mode="json")

    collect_garbage()


maintain_lake()
