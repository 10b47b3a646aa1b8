"""The step of a night that waits for a person. While it waits, it holds no worker and no slot of a pool."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from datetime import timedelta
from typing import Any

from airflow.providers.standard.operators.hitl import HITLOperator
from airflow.sdk import Context, Param

from nightscope_airflow.failures import translated
from nightscope_airflow.links import report_url
from nightscope_airflow.manual_runs import triggered_by
from nightscope_airflow.params import changes, note_of
from tasks.config import Line
from tasks.escaping import plain_text
from tasks.schemas import Answer

log = logging.getLogger(__name__)

APPROVE, HOLD = "Approve", "Hold"
TASK_ID = "approve_promotion"

_NOTE = "Why; kept in the evidence."
_DOC = """Asks whether the challenger may take charge, once every gate agrees. **Approve** puts it in charge, **Hold**
leaves the champion; so does no answer in time. Who answered and the note go into the evidence. What the gates rejected
is not asked here: `nightscope promote --override` is for that."""


class ApprovePromotion(HITLOperator):
    """Asks a person whether a challenger that passed its gates may take charge.

    Returns an `Answer` as JSON. Skips itself where there is nothing to ask: the gates did not say `promote`, the run
    is a dry run, or the verdict has been carried out already.

    Args:
        line: Its approval plan says who may answer, and how long they have.
        verdict: What `decide_verdict` returned.
    """

    template_fields: Collection[str] = (*HITLOperator.template_fields, "verdict")

    def __init__(self, *, line: Line, verdict: Any, **rest: Any) -> None:
        super().__init__(
            subject=f"{line.title or line.line}: may the challenger take charge?",
            options=[APPROVE, HOLD],
            defaults=HOLD,
            response_timeout=timedelta(hours=line.approval.timeout_h),
            assigned_users=[{"id": user, "name": user} for user in line.approval.airflow_users] or None,
            doc_md=_DOC,
            # Airflow hands the DAG's fields to every operator as `params`; ours is the one that the person fills in.
            **{**rest, "params": {"note": Param(None, type=["null", "string"], title="Note", description=_NOTE)}},
        )
        self.line = line
        self.verdict = verdict

    def execute(self, context: Context) -> Any:
        """Ask, and wait."""
        question = translated(self._question)(context["params"], triggered_by(context["dag_run"]))
        self.subject, self.body = question["subject"], question["body"]
        return super().execute(context)

    def _question(self, params: Mapping[str, Any], asked_by: str) -> dict[str, str]:
        from tasks import steps
        from tasks.session import open_session

        verdict_id = self.verdict["verdict_id"]
        with open_session() as session:
            question = steps.approval_request(
                session,
                self.line.line,
                changes(params, self.line),
                verdict_id,
                report_url=report_url(verdict_id),
                dry_run=bool(params["dry_run"]),
                override=bool(params["override"]),
                note=note_of(params),
                asked_by=asked_by,
            )
        return question.model_dump(mode="json")

    def execute_complete(self, context: Context, event: dict[str, Any]) -> Any:
        """What was answered, or that nobody did."""
        from tasks.operations.who import airflow_user

        said = super().execute_complete(context, event)
        person = said["responded_by_user"]
        note = plain_text(str(said["params_input"].get("note") or ""))
        # Airflow's page fills the field in with the run's own note: that is not what this person has to say.
        if note == note_of(context["dag_run"].conf or {}):
            note = ""
        answer = Answer(
            approved=person is not None and said["chosen_options"] == [APPROVE],
            by=(airflow_user(person["name"]) or None) if person else None,
            note=note if person else f"nobody answered within {self.line.approval.timeout_h:g} hours",
            at=said["responded_at"],
        )
        log.info(f"{answer.by or 'nobody'}: {'approved' if answer.approved else 'hold'}. {answer.note}")
        return answer.model_dump(mode="json")
