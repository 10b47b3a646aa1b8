"""# Ingest recordings

Takes everything new in the landing bucket into the lake, once: hashes and decodes it, keeps the time of every frame,
and takes the frames that each line wants labelled. Nothing in the landing bucket is moved or deleted.

Runs every half hour and on demand. New frames wake *Sync annotations*.

**On failure**: a damaged recording does not fail this run; it goes to quarantine with its reason (see the task's log,
or `nightscope quarantine`). A red run means that the lake did not answer: check the S3 server, then clear the task.
"""

from __future__ import annotations

from typing import Any

from airflow.sdk import dag, task
from nightscope_airflow.assets import FRAMES
from nightscope_airflow.defaults import LAKE_POOL, LONG, cron, dag_defaults
from nightscope_airflow.failures import translated


@dag(
    dag_display_name="Take in new recordings",
    schedule=cron("*/30 * * * *"),
    doc_md=__doc__,
    **dag_defaults("ingest"),
)
def ingest_recordings() -> None:
    @task(outlets=[FRAMES], pool=LAKE_POOL, execution_timeout=LONG)
    @translated
    def ingest_new_recordings() -> dict[str, Any]:
        from tasks import steps
        from tasks.session import open_session

        with open_session() as session:
            return steps.ingest_recordings(session, must_be_new=True).model_dump(mode="json")

    ingest_new_recordings()


ingest_recordings()
