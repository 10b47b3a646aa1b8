"""# Roll back a model

Puts the model that was in charge before the champion back in charge, in seconds; or an earlier one, by its version.
Who triggered the run and the note go into the line's evidence. Rolling back twice is back where you were.

The next night judges against the model that is in charge then, and a verdict that was carried out once is not carried
out again: the model that you took away comes back only by another verdict or by *Promote a model*.

**On failure**: nothing was changed, and the last line of the log says why: no champion before this one, or a version
that never was in charge. Trigger it again with other values. A run that was killed is finished by clearing its task.
"""

from __future__ import annotations

from typing import Any

from airflow.sdk import dag, task
from nightscope_airflow.assets import CHAMPIONS
from nightscope_airflow.defaults import PROMOTION_POOL, dag_defaults
from nightscope_airflow.failures import translated
from nightscope_airflow.manual_runs import announce, asked, line_field, version_field
from nightscope_airflow.params import note_field


@dag(
    dag_display_name="Roll back a model",
    schedule=None,
    params={
        "line": line_field(),
        "version": version_field("the one that was in charge before the champion"),
        "note": note_field("May stay empty."),
    },
    doc_md=__doc__,
    **dag_defaults("promotion"),
)
def rollback() -> None:
    @task(outlets=[CHAMPIONS], pool=PROMOTION_POOL)
    @translated
    def roll_back() -> dict[str, Any]:
        from tasks import operations
        from tasks.session import open_session

        with open_session() as session:
            promotion = operations.roll_back(session, **asked("line", "version", "note"))
        return announce(promotion.model_dump(mode="json"))

    roll_back()


rollback()
