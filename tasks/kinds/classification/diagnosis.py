"""What a classifier's probabilities say beyond its metrics: a label's threshold, and labels that it contradicts.

A model contradicts a label confidently where its probability of the contrary is at least the median of what it got
right: of the chosen class in a line of one class a picture, of "there" and of "not there" by themselves in a
multi-label line. As for objects (`tasks.metrics.label_doubts`), every model that was asked must agree.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from tasks.config import Line
from tasks.kind import Answered, DoubtfulLabel, ModelRef, Row
from tasks.kind.doubts import every_frame
from tasks.kinds.classification.metrics import labelled_targets, predicted_scores
from tasks.metrics.classification import THRESHOLD
from tasks.metrics.threshold import Claims

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

    from tasks.lake import Lake


def shown_from(lake: Lake, model: ModelRef, line: Line) -> float:
    """Of a label's probability: the line's threshold, else 0.5."""
    return THRESHOLD if line.evaluation.score_threshold is None else line.evaluation.score_threshold


def claims(predictions: pa.Table, frames: Sequence[Row], line: Line) -> Claims | None:
    """Each label of each picture that somebody judged; None where the most probable class is the answer."""
    if not line.multi_label:
        return None
    scores, targets = predicted_scores(predictions, frames, line), labelled_targets(frames, line)
    image, label = np.nonzero(~np.isnan(targets))
    return Claims(
        score=scores[image, label], right=targets[image, label] == 1, image=image,
        positives=(targets == 1).sum(axis=1),
    )  # fmt: skip


def doubtful_labels(answers: Sequence[Answered], line: Line) -> list[DoubtfulLabel]:
    """Labels of whole pictures that every model which was asked contradicts confidently."""
    frames, contradict = every_frame(answers), _of_labels if line.multi_label else _of_classes
    place = {(row["recording_id"], row["frame_index"]): i for i, row in enumerate(frames)}
    asked = np.zeros(len(frames), dtype=np.int64)
    said: dict[tuple[int, str | None, str | None], list[float]] = {}
    for answer in answers:
        where = [place[row["recording_id"], row["frame_index"]] for row in answer.frames]
        asked[where] += 1
        scores = predicted_scores(answer.predictions, answer.frames, line)
        for i, label, likely, score in contradict(scores, labelled_targets(answer.frames, line), tuple(line.classes)):
            said.setdefault((where[i], label, likely), []).append(score)
    agreed = [(key, float(np.mean(own))) for key, own in said.items() if len(own) == asked[key[0]]]
    agreed.sort(key=lambda item: (-item[1], item[0][0]))
    return [_doubt(frames[i], label, likely, score, int(asked[i])) for (i, label, likely), score in agreed]


Contradiction = tuple[int, str | None, str | None, float]
"""Picture, its label (None: not labelled so), what the model says (None: not so), how probable that is."""


def _of_classes(
    scores: NDArray[np.float64], targets: NDArray[np.float64], classes: Sequence[str]
) -> Iterator[Contradiction]:
    known: NDArray[np.bool_] = np.asarray(~np.isnan(targets).any(axis=1))
    truth, chosen = np.nan_to_num(targets).argmax(axis=1), scores.argmax(axis=1)
    sure = scores.max(axis=1, initial=0.0)
    right = known & (truth == chosen)
    if right.any():
        least = float(np.median(sure[right]))
        for i in np.flatnonzero(known & (truth != chosen) & (sure >= least)):
            yield int(i), classes[int(truth[i])], classes[int(chosen[i])], float(sure[i])


def _of_labels(
    scores: NDArray[np.float64], targets: NDArray[np.float64], classes: Sequence[str]
) -> Iterator[Contradiction]:
    for k, name in enumerate(classes):
        for value, sure in ((1.0, scores[:, k]), (0.0, 1 - scores[:, k])):
            right = (targets[:, k] == value) & (sure > 1 - sure)
            if not right.any():
                continue
            least = float(np.median(sure[right]))
            for i in np.flatnonzero((targets[:, k] == 1 - value) & (sure >= least)):
                yield (int(i), None, name, float(sure[i])) if value else (int(i), name, None, float(sure[i]))


def _doubt(row: Row, label: str | None, likely: str | None, score: float, models: int) -> DoubtfulLabel:
    return DoubtfulLabel(
        sort="unlabelled" if label is None else "unfound" if likely is None else "otherwise",
        frame_oid=row["frame_oid"], recording_id=row["recording_id"], recording_name=row["recording_name"],
        frame_index=row["frame_index"], label=label, likely=likely, score=round(score, 6), models=models,
    )  # fmt: skip
