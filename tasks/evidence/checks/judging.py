"""Does the same still follow: numbers from the stored predictions, the decision from the numbers."""

from __future__ import annotations

import json
from typing import Any

from tasks.errors import NightscopeError, TransportError
from tasks.evaluation.evaluate import recompute
from tasks.evaluation.evaluation import Evaluation, load_evaluation
from tasks.evidence.bundle import Bundle
from tasks.evidence.checks.erased import rests_on_erased
from tasks.evidence.checks.findings import Cause, Findings, differing
from tasks.evidence.record import judged_line
from tasks.gates.decide import decide
from tasks.kind import Kind
from tasks.lake import Lake
from tasks.provenance import code_of
from tasks.schemas import Frozen, Verdict, canonical_json

_MANY = 4
_MB = 1_000_000


def check_judging(lake: Lake, bundles: list[Bundle], found: Findings) -> None:
    """Compute again what each verdict rests on, once for each verdict.

    Args:
        lake: One that remembers nothing.
        bundles: Whose verdicts.
        found: Hears what is wrong.
    """
    touched: dict[str, list[int]] = {}
    first: dict[str, Bundle] = {}
    for bundle in bundles:
        if bundle.verdict:
            touched.setdefault(bundle.verdict.verdict_id, []).append(bundle.number)
            first.setdefault(bundle.verdict.verdict_id, bundle)
    for verdict_id, bundle in first.items():
        if bundle.verdict:
            _check(lake, bundle, bundle.verdict, touched[verdict_id], found)


def _check(lake: Lake, bundle: Bundle, verdict: Verdict, numbers: list[int], found: Findings) -> None:
    name = f"verdict {verdict.verdict_id}"
    try:
        evaluation = load_evaluation(lake, verdict.evaluation_oid)
        _check_identities(bundle, verdict, evaluation, numbers, found)
        line = judged_line(lake, verdict)
        if line is None:
            found.note(f"{name}: the line as it was judged was not kept then; nothing could be computed again")
            return
        if rests_on_erased(lake, verdict, evaluation, found):
            return
        kind = Kind.named(line.kind)
        again = recompute(lake, line, kind, evaluation)
    except TransportError:
        raise
    except (NightscopeError, ValueError, KeyError, TypeError, OSError) as error:  # of damaged objects
        found.add(f"numbers of {name}", "can be computed again", str(error) or repr(error), "follows", numbers)
        return
    cause = _cause(bool(evaluation.measured_by) and evaluation.measured_by == code_of("evaluation", line.kind))
    _compare(f"numbers of {name}", _plain(evaluation), _plain(again), cause, numbers, found)
    found.count("evaluations computed again")
    try:
        outcome = decide(line, evaluation, kind)
    except NightscopeError as error:
        found.add(f"gates of {name}", "can be run again", str(error), "code", numbers)
        return
    cause = _cause(bundle.code.judging == code_of("verdict", line.kind))
    stored = {"decision": verdict.verdict, "reasons": list(verdict.reasons), "gates": _gates(verdict.gates)}
    now = {"decision": outcome.decision, "reasons": list(outcome.reasons), "gates": _gates(outcome.gates)}
    _compare(f"gates of {name}", _json(stored), _json(now), cause, numbers, found)
    if cause == "code":
        found.note(f"{name} was judged by other code than today's (commit {bundle.code.git_commit or 'unknown'})")
    found.count("gates run again", len(verdict.gates))


def _check_identities(
    bundle: Bundle, verdict: Verdict, evaluation: Evaluation, numbers: list[int], found: Findings
) -> None:
    """The verdict, its evaluation, and the models speak of the same things."""
    pairs: list[tuple[str, Any, Any]] = [
        ("the challenger's metrics", verdict.metrics, evaluation.metrics),
        ("the champion's metrics", verdict.champion_metrics, evaluation.champion_metrics),
        ("its intervals", verdict.intervals, evaluation.intervals),
        ("its dataset version", verdict.dataset_version, evaluation.dataset_version),
        ("the challenger", verdict.model_version, evaluation.challenger.model.model_version),
    ]
    for role, result in (("challenger", evaluation.challenger), ("champion", evaluation.champion)):
        model = bundle.models.get(role)
        if result is None or model is None:
            continue
        pairs.append((f"weights of the {role}", model.weights_oid, result.model.weights_oid))
        if model.training:
            pairs.append((f"weights that the {role}'s training made", model.training["weights_oid"], model.weights_oid))
        size = next((one.size_bytes for one in bundle.objects if one.sha256 == model.weights_oid), None)
        if size is not None and result.metrics.get("model_size_mb"):
            pairs.append((f"size of the {role} in MB", size / _MB, result.metrics["model_size_mb"]))
    for what, stored, evaluated in pairs:
        thing = f"{what} in verdict {verdict.verdict_id}, against its evaluation"
        _compare(thing, _json(stored), _json(evaluated), "changed", numbers, found)


def _cause(same_code: bool) -> Cause:
    return "changed" if same_code else "code"


def _compare(thing: str, stored: Any, again: Any, cause: Cause, numbers: list[int], found: Findings) -> None:
    differences = list(differing(stored, again))
    for where, wanted, there in differences[:_MANY]:
        found.add(f"{thing}: {where}" if where else thing, wanted, there, cause, numbers)
    if len(differences) > _MANY:
        found.add(thing, "the same values", f"{len(differences) - _MANY} others differ, too", cause, numbers)


def _gates(gates: tuple[Any, ...]) -> list[Any]:
    return [gate.model_dump(mode="json") for gate in gates]


def _plain(noun: Frozen) -> Any:
    return _json(noun.model_dump(mode="json"))


def _json(value: Any) -> Any:
    return json.loads(canonical_json(value))
