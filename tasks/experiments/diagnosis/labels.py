"""Labels to look at again: what models contradict that have not learned from the frames.

Asked are the model itself and the models of the learning curve about the test split, and every fold of a finished
cross-validation of the same dataset version about the groups that it tested: with one, all frames are looked at.
"""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tasks.config import Line
from tasks.errors import NightscopeError
from tasks.experiments.diagnosis.findings import LabelNoise, LearningCurve
from tasks.experiments.experiment_runs import filed_result
from tasks.kind import Answered, DoubtfulLabel, Kind
from tasks.lake import Lake, Manifest

if TYPE_CHECKING:
    from tasks.evaluation.evaluation import Evaluation

log = logging.getLogger(__name__)

LISTED = 60
"""Doubts in the report, so many of each sort at most a third."""


def label_noise(
    lake: Lake, line: Line, kind: Kind, base: Manifest, evaluation: Evaluation, curve: LearningCurve | None
) -> LabelNoise:
    """Ask every model that there is.

    Args:
        lake: Where predictions are stored.
        line: Whose classes count.
        kind: Of the line.
        base: The dataset version.
        evaluation: Of the model, on its test split.
        curve: The learning curve, if there is one.
    """
    answers = [_answered(lake, line, own, who) for who, own in _asked(lake, line, base, evaluation, curve)]
    doubts = kind.diagnosis.doubtful_labels(answers, line) if kind.diagnosis else []
    frames = {(row["recording_id"], row["frame_index"]): row for answer in answers for row in answer.frames}
    counted = (kind.checks.counted(json.loads(row["objects"] or "[]")) for row in frames.values())
    return LabelNoise(
        frames=len(frames),
        labels=sum(len(own) for own in counted),
        models=tuple(answer.who for answer in answers),
        doubts=tuple(_linked(lake, line, _listed(doubts))),
        counts=dict(Counter(doubt.sort for doubt in doubts)),
        alone=sum(doubt.sort == "unfound" and doubt.models == 1 for doubt in doubts),
        explored=_explored(lake, line, kind, base),
    )


def _asked(
    lake: Lake, line: Line, base: Manifest, evaluation: Evaluation, curve: LearningCurve | None
) -> list[tuple[str, Evaluation]]:
    """Who was asked, and the evaluation that has the answers."""
    from tasks.evaluation.evaluation import load_evaluation

    found = [(f"model {evaluation.challenger.model.model_version}", evaluation)]
    most = max((point.groups for point in curve.points), default=0) if curve else 0
    for point in curve.points if curve else ():
        if point.evaluation_oid and point.groups == most:  # a model that learned little contradicts without reason
            found.append((f"learning curve, seed {point.seed}", load_evaluation(lake, point.evaluation_oid)))
    for fold in _folds(lake, line, base):
        found.append((f"fold {fold['fold']} of {fold['folds']}", load_evaluation(lake, fold["evaluation_oid"])))
    return found


def _folds(lake: Lake, line: Line, base: Manifest) -> list[dict[str, Any]]:
    """Folds of the newest finished cross-validation of the version."""
    place = f"experiments/{line.line}/cross-validations/"
    filed = sorted(lake.store.list(place), key=lambda info: info.modified_at, reverse=True)
    for info in filed:
        result = filed_result(lake, info.key)
        if result and result["dataset_version"] == base.version and result["complete"]:
            return list(result["folds"])
    return []


def _answered(lake: Lake, line: Line, evaluation: Evaluation, who: str) -> Answered:
    from tasks.evaluation.evaluate import frames_of_test_split, stored_predictions

    return Answered(
        who=who,
        frames=frames_of_test_split(lake, line, evaluation.dataset_version),
        predictions=stored_predictions(lake, evaluation.challenger.predictions_oid),
    )


def _listed(doubts: Sequence[DoubtfulLabel]) -> list[DoubtfulLabel]:
    """The first of each sort, so that none crowds out the others; in their order."""
    taken: Counter[str] = Counter()
    sorts = len({doubt.sort for doubt in doubts})
    listed = []
    for doubt in doubts:
        if taken[doubt.sort] < LISTED // max(1, sorts):
            taken[doubt.sort] += 1
            listed.append(doubt)
    return listed


def _linked(lake: Lake, line: Line, doubts: Sequence[DoubtfulLabel]) -> list[DoubtfulLabel]:
    """Each with the address of its labeling task, where the last sync knew it."""
    from tasks.labeling import state

    known, url = state.load(lake, line.line), lake.settings.label_studio.url
    if not doubts or known.project_id is None or not url:
        return list(doubts)
    tasks, project = known.placed(), f"{str(url).rstrip('/')}/projects/{known.project_id}/data?task="
    return [
        doubt.model_copy(update={"link": f"{project}{task}"})
        if (task := tasks.get((doubt.recording_id, doubt.frame_index))) is not None
        else doubt
        for doubt in doubts
    ]


def _explored(lake: Lake, line: Line, kind: Kind, base: Manifest) -> int | None:
    """What the exploration of the whole dataset suspects; it is kept beside the version, and made where it is not."""
    from tasks.exploration.explore import explore

    try:
        return explore(lake, line, kind, base).labels_to_check
    except NightscopeError as error:
        log.warning(f"line {line.line}: the exploration was left out: {error}")
        return None
