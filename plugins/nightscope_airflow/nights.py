"""A line's night, wired: from the landing bucket to the champion."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import Any

from airflow.sdk import DAG, dag, get_current_context, task

from nightscope_airflow.approval import TASK_ID, ApprovePromotion
from nightscope_airflow.assets import champions
from nightscope_airflow.defaults import (
    LAKE_POOL,
    LONG,
    ON_GPU,
    PROMOTION_POOL,
    TASK_DEFAULTS,
    cron,
    dag_defaults,
)
from nightscope_airflow.failures import spoken, translated
from nightscope_airflow.links import report_url
from nightscope_airflow.manual_runs import triggered_by
from nightscope_airflow.params import changes, check_form, form, note_of
from tasks.config import Line, dag_id_of
from tasks.errors import ConfigError
from tasks.escaping import markdown, markdown_code

log = logging.getLogger(__name__)

_DOC = """# {title}

The night of the line **{line}**: takes in new recordings and labels, checks them, freezes a dataset version, trains a
challenger, compares it with the champion on the same test recordings, and puts it in charge if every gate
agrees{approval}.

Runs {schedule}, and by hand with *Trigger*: every field of the form is optional. Nothing new = no training: the night
ends in seconds as *skipped*, and the task `check_news` says why. The report of each verdict is linked in the log of
`decide_verdict`; history: `nightscope verdicts {line}`.

Classes: {classes}. Gates: {gates}.

A run whose gates or evaluation were made looser than the line's file says puts nothing in charge, unless *override* is
ticked and the *note* says why; who triggered it and the note go into the evidence.

To overrule what a night decided: *Promote a model* and *Roll back a model*, or `nightscope promote` and `rollback`.

**On failure**: open the red task's log; the last line names the thing, what was expected, what was found and what to
do. Bad recordings and labels never fail a night: they are set aside in quarantine. After mending, clear the red task:
finished work (ingested recordings, a finished or half-finished training, a verdict) is picked up, not repeated. A red
night whose last tasks are *skipped* took longer than {longest}: trigger it again, and it goes on from there.
"""

_APPROVAL = """ and a
person approves: `approve_promotion` waits up to {hours:g} hours under *Required actions* (and the line's next nights
behind it), and holds if nobody answers"""


def retrain_dag(line: Line, recipes: list[str]) -> DAG:
    """Build the `retrain_<line>` DAG.

    Args:
        line: The line, as its file says.
        recipes: Names that the form offers.
    """
    schedule = cron(line.schedule) if line.schedule else None
    text = _DOC.format(
        title=markdown(line.title or line.line),
        line=line.line,
        schedule=f"at `{line.schedule}` (UTC)" if line.schedule else "on demand",
        classes=", ".join(map(markdown, line.classes)),
        longest=spoken(longest_night(line)),
        approval=_APPROVAL.format(hours=line.approval.timeout_h) if line.approval.required else "",
        gates="; ".join(f"{markdown_code(gate.id)} {gate.threshold:g}" for gate in line.gates),
    )

    @dag(
        dag_id=line.dag_id,
        dag_display_name=f"Retrain: {line.title or line.line}",
        schedule=schedule,
        params=form(line, recipes),
        dagrun_timeout=longest_night(line),
        doc_md=text,
        **dag_defaults("retrain", line.kind),
    )
    def night() -> None:
        name = line.line

        def wanted() -> dict[str, Any]:
            return changes(get_current_context()["params"], line)

        @task(pool=LAKE_POOL, execution_timeout=LONG)
        @translated
        def ingest_recordings() -> dict[str, Any]:
            from tasks import steps
            from tasks.session import open_session

            check_form()
            with open_session() as session:
                steps.check_request(session, name, wanted())
                return steps.ingest_recordings(session).model_dump(mode="json")

        @task(pool=LAKE_POOL)
        @translated
        def sync_annotations() -> dict[str, Any]:
            from tasks import steps
            from tasks.session import open_session

            with open_session() as session:
                return steps.sync_annotations(session, name).model_dump(mode="json")

        @task
        @translated
        def check_news() -> str:
            from tasks import steps
            from tasks.session import open_session

            with open_session() as session:
                return steps.check_news(session, name, wanted(), force=_asked("force")).news

        @task
        @translated
        def validate_labels() -> dict[str, Any]:
            from tasks import steps
            from tasks.session import open_session

            with open_session() as session:
                return steps.validate_labels(session, name, wanted()).model_dump(mode="json")

        @task(execution_timeout=LONG)
        @translated
        def freeze_dataset(validation: dict[str, Any]) -> str:
            from tasks import steps
            from tasks.session import open_session

            oid, force = validation["validation_oid"], _asked("force")
            with open_session() as session:
                return steps.freeze_dataset(session, name, wanted(), oid, force=force).dataset_version

        @task(**ON_GPU, execution_timeout=timedelta(hours=line.max_training_h))
        @translated
        def train_challenger(dataset_version: str) -> dict[str, Any]:
            from tasks import steps
            from tasks.session import open_session

            with open_session() as session:
                return steps.train_challenger(session, name, wanted(), dataset_version).model_dump(mode="json")

        @task(**ON_GPU, execution_timeout=LONG)
        @translated
        def evaluate_models(dataset_version: str, training: dict[str, Any]) -> str:
            from tasks import steps
            from tasks.session import open_session

            challenger = training["model_version"]
            with open_session() as session:
                return steps.evaluate_models(session, name, wanted(), dataset_version, challenger).evaluation_oid

        @task
        @translated
        def decide_verdict(evaluation_oid: str, training: dict[str, Any]) -> dict[str, Any]:
            from tasks import steps
            from tasks.session import open_session
            from tasks.steps.verdict import RegisteredTraining

            with open_session() as session:
                trained = RegisteredTraining.model_validate(training)
                verdict = steps.decide_verdict(session, name, wanted(), evaluation_oid, trained)
            log.info(f"read the report: {report_url(verdict.verdict_id)}")
            return verdict.model_dump(mode="json")

        news = check_news()
        validation = validate_labels()
        dataset_version = freeze_dataset(validation)
        training = train_challenger(dataset_version)
        verdict = decide_verdict(evaluate_models(dataset_version, training), training)
        carry_out(line, verdict)
        ingest_recordings() >> sync_annotations() >> news >> validation

    return night()


def longest_night(line: Line) -> timedelta:
    """When a night is ended: every step took as long as it may, twice (others hold the GPU), and the person as well."""
    short = TASK_DEFAULTS["execution_timeout"]
    steps = 3 * LONG + timedelta(hours=line.max_training_h) + 6 * short
    return 2 * steps + timedelta(hours=line.approval.timeout_h if line.approval.required else 0)


def carry_out(line: Line, verdict: Any) -> None:
    """Wire the end of a night: a person's approval where the line asks for one, then the promotion.

    Args:
        line: The line.
        verdict: The task that returns what `tasks.steps.decide_verdict` does.
    """
    approval = ApprovePromotion(task_id=TASK_ID, line=line, verdict=verdict) if line.approval.required else None

    # Skipped with the night, but not with a question that was not asked: its verdict is recorded all the same.
    @task(
        outlets=[champions(line.line)],
        pool=PROMOTION_POOL,
        trigger_rule="none_failed_min_one_success" if approval else "all_success",
    )
    @translated
    def promote_model(verdict: dict[str, Any], answer: dict[str, Any] | None) -> dict[str, Any]:
        from tasks import steps
        from tasks.session import open_session

        context = get_current_context()
        wanted, news = changes(context["params"], line), context["ti"].xcom_pull(task_ids="check_news")
        with open_session() as session:
            promoted = steps.promote_model(
                session,
                line.line,
                wanted,
                verdict["verdict_id"],
                news=news,
                dry_run=_asked("dry_run"),
                answer=answer,
                override=_asked("override"),
                note=note_of(context["params"]),
                by=triggered_by(context["dag_run"]),
            )
        return promoted.model_dump(mode="json")

    promote_model(verdict, approval.output if approval else None)


def _asked(option: str) -> bool:
    return bool(get_current_context()["params"][option])


def broken_line(name: str, error: ConfigError) -> DAG:
    """A DAG that stands in for a line whose file is wrong, so that its fault is seen where its night would be."""
    fault = markdown(str(error))
    text = f"# {name}: this line's file is wrong\n\n{fault}\n\n**On failure**: mend `dags/lines/{name}.yaml`."

    @dag(
        dag_id=dag_id_of("retrain", name),
        dag_display_name=f"Retrain: {name} (its file is wrong)",
        schedule=None,
        doc_md=text,
        **dag_defaults("retrain", "broken"),
    )
    def night() -> None:
        @task
        @translated
        def read_line() -> None:
            raise ConfigError(error.thing, expected=error.expected, found=error.found, fix=error.fix)

        read_line()

    return night()
