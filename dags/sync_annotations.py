"""# Sync annotations

For every line: puts new frames before the annotators in Label Studio, and fetches what they have changed since the last
time. Runs when there are new frames, every half hour, and on demand. Running it again changes nothing.

When Label Studio refuses a change of the classes, because there are answers that it has no place for, the sync goes on;
the log's `note:` says what to do in Label Studio.

**On failure**: Label Studio or the lake did not answer. Airflow tries again by itself; if it stays red, open Label
Studio (`nightscope status` says where) and check that it runs, then clear the task.
"""

from __future__ import annotations

from typing import Any

from airflow.sdk import AssetOrTimeSchedule, dag, task
from nightscope_airflow.assets import ANNOTATIONS, FRAMES
from nightscope_airflow.defaults import LAKE_POOL, cron, dag_defaults
from nightscope_airflow.failures import translated


@dag(
    dag_display_name="Exchange frames and labels with Label Studio",
    schedule=AssetOrTimeSchedule(
        timetable=cron("15,45 * * * *"),
        assets=[FRAMES],
    ),
    doc_md=__doc__,
    **dag_defaults("labeling"),
)
def sync_annotations() -> None:
    @task
    @translated
    def list_lines() -> list[str]:
        from tasks import steps
        from tasks.session import open_session

        with open_session() as session:
            return steps.list_lines(session)

    @task(outlets=[ANNOTATIONS], pool=LAKE_POOL)
    @translated
    def sync_line(line: str) -> dict[str, Any]:
        from tasks import steps
        from tasks.session import open_session

        with open_session() as session:
            return steps.sync_annotations(session, line, must_be_new=True).model_dump(mode="json")

    sync_line.expand(line=list_lines())


sync_annotations()
