"""# Verify the evidence

Once a week: reads the evidence of every line again, and all it names (recordings, labels, weights, reports); computes
the numbers again, runs the gates again, checks every signature with the trusted public keys, and compares it with what
MLflow serves and with what this machine has seen before. The last lines of the log name each line and how it came out.

**On failure**: something no longer holds, and the error names it: the line, the thing, what was expected and found.
*changed* or *missing*: bytes are not what they were; restore them from a backup. *signature*: somebody who has no key
of yours wrote it; find out who can write to the lake, and do not promote before you know. *moved*: MLflow was changed
by hand. `nightscope verify LINE` shows all of it. A red run by a service that did not answer: clear the task.
"""

from __future__ import annotations

from typing import Any

from airflow.sdk import dag, task
from nightscope_airflow.defaults import LONG, cron, dag_defaults
from nightscope_airflow.failures import translated


@dag(
    dag_display_name="Verify the evidence",
    schedule=cron("30 6 * * 0"),
    doc_md=__doc__,
    **dag_defaults("evidence"),
)
def verify_evidence() -> None:
    @task(execution_timeout=LONG)
    @translated
    def verify_every_line() -> dict[str, Any]:
        from tasks import operations
        from tasks.session import open_session

        with open_session() as session:
            verified = operations.verify_all(session)
        return {name: report["head"] for name, report in verified.lines.items()}

    verify_every_line()


verify_evidence()
