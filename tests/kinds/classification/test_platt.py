"""An SVM's scores become log odds by rows that it did not see."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.svm import SVC, LinearSVC

from tasks.kinds.classification.frozen import fit
from tasks.kinds.classification.plan import TrainingPlan
from tasks.kinds.classification.platt import AS_IT_WAS, platt


def rows_of(count: int, share: float, seed: int = 0) -> tuple[Any, Any]:
    """Rows [n, 20] of which a share shows something, a little apart from the rest."""
    random = np.random.default_rng(seed)
    there = random.random(count) < share
    return random.normal(size=(count, 20)) + there[:, None] * 0.35, there


@pytest.mark.parametrize("weight", [None, "balanced"])
def test_is_the_regression_on_scores_of_left_out_groups(weight: str | None) -> None:
    rows, there = rows_of(150, 0.3)
    groups = np.arange(150) // 3
    scores = np.zeros(150)
    for train, held in StratifiedGroupKFold(5, shuffle=True, random_state=0).split(rows, there, groups):
        assert not set(groups[train]) & set(groups[held])
        scores[held] = SVC(C=3, class_weight=weight).fit(rows[train], there[train]).decision_function(rows[held])
    wanted = LogisticRegression(class_weight=weight).fit(scores[:, None], there)
    found = platt(SVC(C=3, class_weight=weight), rows, there, groups)
    assert found == (wanted.coef_[0, 0], wanted.intercept_[0]) and found[0] > 0


def test_a_balanced_cut_is_better_balanced_on_other_rows_and_ranks_them_alike() -> None:
    rows, there = rows_of(300, 0.15)
    others, truth = rows_of(2000, 0.15, seed=1)
    found = {}
    for calibration in ("none", "platt"):
        plan = TrainingPlan(head="svm-rbf", C=3, gamma=1, class_weights="balanced", calibration=calibration)  # type: ignore[arg-type]
        head = fit(rows, there[:, None].astype(float), plan, multi_label=True)
        seen = (others - head.centre) / head.spread
        apart = ((seen[:, None] - head.support) ** 2).sum(2)
        found[calibration] = np.exp(-head.gamma * apart) @ head.coef[0] + head.intercept[0]
    assert np.array_equal(np.argsort(found["none"]), np.argsort(found["platt"]))
    plain, calibrated = (balanced_accuracy_score(truth, found[each] > 0) for each in ("none", "platt"))
    assert calibrated > plain + 0.05


def test_scores_stay_where_nothing_can_be_left_out_or_nothing_was_learned() -> None:
    rows, there = rows_of(40, 0.3)
    svm = LinearSVC(random_state=0)
    one_group = np.where(there, -1, np.arange(40))
    assert platt(svm, rows, there, one_group) == AS_IT_WAS, "all that show it depend on each other"
    opposite = np.tile(there, 2) ^ (np.arange(80) >= 40)
    twice = np.arange(80)
    assert platt(svm, np.tile(rows, (2, 1)), opposite, twice) == AS_IT_WAS, "each row is contradicted by its twin"
