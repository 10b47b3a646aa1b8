"""# Promote a model

Puts a version of a line's model in charge because you say so: after a *Hold*, say, or to go against a verdict. Who
triggered the run, the note, and whether a verdict was set aside go into the line's evidence. *Roll back a model* takes
it back.

A version that something speaks against is refused, unless *override* is ticked and the note says why: its newest
verdict is not `promote`, compared with another champion than today's, or was given by looser gates than the line's file
has; its night was held; or the line asks for an approval that nobody gave.

**On failure**: nothing was changed, and the last line of the log says why: no such version, in charge already, or a
verdict that forbids it. Trigger it again with other values. A run that was killed is finished by clearing its task.
"""

from __future__ import annotations

from typing import Any

from airflow.sdk import dag, task
from nightscope_airflow.assets import CHAMPIONS
from nightscope_airflow.defaults import PROMOTION_POOL, dag_defaults
from nightscope_airflow.failures import translated
from nightscope_airflow.manual_runs import announce, asked, line_field, version_field
from nightscope_airflow.params import note_field, override_switch


@dag(
    dag_display_name="Promote a model",
    schedule=None,
    params={
        "line": line_field(),
        "version": version_field("the newest challenger"),
        "override": override_switch("Even if something speaks against it."),
        "note": note_field(),
    },
    doc_md=__doc__,
    **dag_defaults("promotion"),
)
def promote() -> None:
    @task(outlets=[CHAMPIONS], pool=PROMOTION_POOL)
    @translated
    def promote_version() -> dict[str, Any]:
        from tasks import operations
        from tasks.session import open_session

        with open_session() as session:
            promotion = operations.promote_version(session, **asked("line", "version", "note", "override"))
        return announce(promotion.model_dump(mode="json"))

    promote_version()


promote()
