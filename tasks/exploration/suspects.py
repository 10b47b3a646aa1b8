"""Labels that a small model finds unlikely, which has not seen them: confident learning, by cleanlab.

After Northcutt, Jiang & Chuang 2021, https://doi.org/10.1613/jair.1.12125.

The model is a logistic regression on features of pictures, trained on four fifths of the groups and asked about the
fifth: it is weak, and cheap. What it names is worth a look, and often right as it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

FOLDS = 5
_LEAST_GROUPS = 3
"""In which a class must stand, so that it can be learned from others."""
_C, _ITERATIONS = 0.001, 100
_MOST = 5_000
"""Pictures that it looks at: of more, so many, the same ones each time."""


@dataclass(frozen=True)
class Suspect:
    """A label to look at.

    Attributes:
        row: Which picture.
        given: Its label.
        likely: The class that the model finds most probable.
        p_given: Its probability of the label.
        p_likely: Of the other one.
    """

    row: int
    given: str
    likely: str
    p_given: float
    p_likely: float


@dataclass(frozen=True)
class Suspects:
    """Labels to look at, the least likely first.

    Attributes:
        found: Them.
        looked_at: Pictures that the model was asked about.
        accuracy: Share of pictures whose label it names itself; None where it could not be trained.
        why_not: Why it could not.
    """

    found: tuple[Suspect, ...] = ()
    looked_at: int = 0
    accuracy: float | None = None
    why_not: str = ""


def find_suspects(
    features: npt.NDArray[np.float32], labels: Sequence[str | None], groups: Sequence[str], *, seed: int = 0
) -> Suspects:
    """Find labels that do not go with their pictures.

    Args:
        features: [n, d].
        labels: The class of each picture; None: nobody said.
        groups: Pictures of one group are asked about together, by a model that has seen none of them.
        seed: Of the folds, and of which pictures are looked at.
    """
    rng = np.random.default_rng(seed)
    rows = np.array([i for i, label in enumerate(labels) if label is not None], dtype=np.intp)
    if len(rows) > _MOST:
        rows = np.sort(rng.choice(rows, _MOST, replace=False))
    given = np.array([str(labels[i]) for i in rows])
    names, y = np.unique(given, return_inverse=True)
    group = np.array([groups[i] for i in rows])
    spread = {name: len(set(group[given == name])) for name in names}
    few = [f"{name!r} ({count})" for name, count in spread.items() if count < _LEAST_GROUPS]
    if len(names) < 2:
        return Suspects(looked_at=len(rows), why_not="there is one class only")
    if few:
        why = f"each class must stand in {_LEAST_GROUPS} groups at least, to be learned from others: {', '.join(few)}"
        return Suspects(looked_at=len(rows), why_not=why)
    probability = _out_of_fold(features[rows], y, group, min(FOLDS, *spread.values()), seed)
    if probability is None:
        return Suspects(looked_at=len(rows), why_not="no split of the groups leaves every class to learn from")
    found = []
    for place in _unlikely(y, probability):
        likely = int(np.argmax(probability[place]))
        found.append(
            Suspect(
                row=int(rows[place]),
                given=str(names[y[place]]),
                likely=str(names[likely]),
                p_given=float(probability[place, y[place]]),
                p_likely=float(probability[place, likely]),
            )
        )
    return Suspects(tuple(found), len(rows), float(np.mean(np.argmax(probability, axis=1) == y)))


def _out_of_fold(
    features: npt.NDArray[np.float32], y: npt.NDArray[np.intp], group: npt.NDArray[np.str_], folds: int, seed: int
) -> npt.NDArray[np.float64] | None:
    """[n, classes]: what a model says of each picture that has learned from other groups; None where none can."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedGroupKFold
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    classes = int(y.max()) + 1
    found = np.full((len(y), classes), np.nan)
    for train, test in StratifiedGroupKFold(folds, shuffle=True, random_state=seed).split(features, y, group):
        if len(np.unique(y[train])) < classes:
            return None
        model = make_pipeline(StandardScaler(), LogisticRegression(C=_C, class_weight="balanced", max_iter=_ITERATIONS))
        found[test] = model.fit(features[train], y[train]).predict_proba(features[test])
    return found


def _unlikely(y: npt.NDArray[np.intp], probability: npt.NDArray[np.float64]) -> list[int]:
    from cleanlab.filter import find_label_issues

    ranked = find_label_issues(y, probability, filter_by="both", return_indices_ranked_by="self_confidence", n_jobs=1)
    return [int(place) for place in ranked]
