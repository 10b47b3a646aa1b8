"""A line's night, wired: from the landing bucket to the champion."""

from __future__ import annotations

from typing import Any

from airflow.sdk import DAG, dag, get_current_context, task

from nightscope_airflow.assets import champions
from nightscope_airflow.defaults import GPU_POOL, GPU_QUEUE, LAKE_POOL, cron, dag_defaults
from nightscope_airflow.failures import translated
from nightscope_airflow.params import changes, form, refuse_unknown_conf
from tasks.config import Line
from tasks.errors import ConfigError

_DOC = """# {title}

The night of the line **{line}**: takes in new recordings and labels, checks them, freezes a dataset version, trains a
challenger, compares it with the champion on the same test recordings, and puts it in charge if every gate agrees.

Runs {schedule}, and by hand with *Trigger*: every field of the form is optional. Nothing new = no training: the night
ends in seconds as *skipped*, and the task `check_news` says why. The report of each verdict is linked in the log of
`decide_verdict`; history: `nightscope verdicts {line}`.

Classes: {classes}. Gates: {gates}.

**On failure**: open the red task's log; the last line names the thing, what was expected, what was found and what to
do. Bad recordings and labels never fail a night: they are set aside in quarantine. After mending, clear the red task:
finished work (ingested recordings, a finished or half-finished training, a verdict) is picked up, not repeated.
"""


def retrain_dag(line: Line, recipes: list[str]) -> DAG:
    """Build the `retrain_<line>` DAG.

    Args:
        line: The line, as its file says.
        recipes: Names that the form offers.
    """
    schedule = cron(line.schedule) if line.schedule else None
    text = _DOC.format(
        title=line.title or line.line,
        line=line.line,
        schedule=f"at `{line.schedule}` (UTC)" if line.schedule else "on demand",
        classes=", ".join(line.classes),
        gates="; ".join(f"`{gate.id}` {gate.threshold:g}" for gate in line.gates),
    )

    @dag(
        dag_id=line.dag_id,
        dag_display_name=f"Retrain: {line.title or line.line}",
        schedule=schedule,
        params=form(line, recipes),
        doc_md=text,
        **dag_defaults("retrain", line.kind),
    )
    def night() -> None:
        name = line.line

        def wanted() -> dict[str, Any]:
            return changes(get_current_context()["params"], line)

        def asked(option: str) -> bool:
            return bool(get_current_context()["params"][option])

        @task(pool=LAKE_POOL)
        @translated
        def ingest_recordings() -> dict[str, Any]:
            from tasks import steps

            refuse_unknown_conf()
            steps.check_request(name, wanted())
            return steps.ingest_recordings()

        @task(pool=LAKE_POOL)
        @translated
        def sync_annotations() -> dict[str, Any]:
            from tasks import steps

            return steps.sync_annotations(name)

        @task
        @translated
        def check_news() -> str:
            from tasks import steps

            return steps.check_news(name, wanted(), force=asked("force"))

        @task
        @translated
        def validate_labels() -> dict[str, Any]:
            from tasks import steps

            return steps.validate_labels(name, wanted())

        @task
        @translated
        def freeze_dataset(validation: dict[str, Any]) -> str:
            from tasks import steps

            return steps.freeze_dataset(name, wanted(), validation["validation_oid"], force=asked("force"))

        @task(pool=GPU_POOL, queue=GPU_QUEUE)
        @translated
        def train_challenger(dataset_version: str) -> dict[str, Any]:
            from tasks import steps

            return steps.train_challenger(name, wanted(), dataset_version)

        @task(pool=GPU_POOL, queue=GPU_QUEUE)
        @translated
        def evaluate_models(dataset_version: str, training: dict[str, Any]) -> str:
            from tasks import steps

            return steps.evaluate_models(name, wanted(), dataset_version, training["model_version"])

        @task
        @translated
        def decide_verdict(evaluation_oid: str, training: dict[str, Any]) -> dict[str, Any]:
            from tasks import steps

            return steps.decide_verdict(name, wanted(), evaluation_oid, training)

        @task(outlets=[champions(name)])
        @translated
        def promote_model(news: str, verdict: dict[str, Any]) -> dict[str, Any]:
            from tasks import steps

            return steps.promote_model(name, verdict["verdict_id"], news=news, dry_run=asked("dry_run"))

        news = check_news()
        validation = validate_labels()
        dataset_version = freeze_dataset(validation)
        training = train_challenger(dataset_version)
        verdict = decide_verdict(evaluate_models(dataset_version, training), training)
        promote_model(news, verdict)
        ingest_recordings() >> sync_annotations() >> news >> validation

    return night()


def broken_line(name: str, error: ConfigError) -> DAG:
    """A DAG that stands in for a line whose file is wrong, so that its fault is seen where its night would be."""
    text = f"# {name}: this line's file is wrong\n\n{error}\n\n**On failure**: mend `dags/lines/{name}.yaml`."

    @dag(dag_id=f"retrain_{name.replace('-', '_')}", schedule=None, doc_md=text, **dag_defaults("retrain", "broken"))
    def night() -> None:
        @task
        @translated
        def read_line() -> None:
            raise ConfigError(error.thing, expected=error.expected, found=error.found, fix=error.fix)

        read_line()

    return night()
