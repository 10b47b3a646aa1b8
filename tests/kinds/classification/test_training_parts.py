"""Losses, samplers, stages, augmentation, heads: each against what it should be."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional
from torchvision.ops import sigmoid_focal_loss

from tasks.errors import ConfigError
from tasks.kinds.classification import networks
from tasks.kinds.classification.augmentation import augmentation
from tasks.kinds.classification.frozen import fit
from tasks.kinds.classification.handover import fitted_temperature
from tasks.kinds.classification.losses import binary_loss, choice_loss, class_weights, loss_of, picture_weights
from tasks.kinds.classification.plan import StagePlan, TrainingPlan
from tasks.kinds.classification.scores import scores_of
from tasks.kinds.classification.stages import (
    parameter_groups,
    rate_at,
    refuse_batches_of_one,
    schedule_of,
    set_modes,
    unfreeze,
)
from tasks.kinds.classification.trainer import mixed
from tasks.training.torch_setup import precision_of

NAN = float("nan")


def one_hot(*labels: int, classes: int = 3) -> torch.Tensor:
    return functional.one_hot(torch.tensor(labels), classes).float()


def test_cross_entropy_is_torchs() -> None:
    torch.manual_seed(0)
    logits, labels = torch.randn(6, 3), torch.tensor([0, 1, 2, 0, 0, 1])
    ours = choice_loss(logits, one_hot(*labels), torch.ones(3), smoothing=0.1)
    assert ours == pytest.approx(float(functional.cross_entropy(logits, labels, label_smoothing=0.1)), rel=1e-6)


def test_the_focal_loss_is_lins() -> None:
    torch.manual_seed(0)
    logits, labels = torch.randn(6, 3), torch.tensor([0, 1, 2, 0, 0, 1])
    chances = logits.softmax(1)[range(6), labels]
    expected = (-((1 - chances) ** 2) * chances.log()).mean()
    assert float(choice_loss(logits, one_hot(*labels), torch.ones(3), gamma=2)) == pytest.approx(
        float(expected), rel=1e-6
    )
    wanted = (torch.rand(6, 3) > 0.5).float()
    theirs = sigmoid_focal_loss(logits, wanted, alpha=-1, gamma=2, reduction="mean")
    assert float(binary_loss(logits, wanted, torch.ones(3), gamma=2)) == pytest.approx(float(theirs), rel=1e-6)


def test_what_nobody_judged_is_not_learned_from() -> None:
    logits = torch.zeros(2, 2, requires_grad=True)
    loss = binary_loss(logits, torch.tensor([[1.0, NAN], [NAN, NAN]]), torch.ones(2))
    loss.backward()
    assert float(loss.detach()) == pytest.approx(np.log(2))
    assert logits.grad is not None and logits.grad.tolist() == [[-0.5, 0.0], [0.0, 0.0]]
    nothing = binary_loss(logits, torch.full((2, 2), NAN), torch.ones(2))
    assert float(nothing.detach()) == 0


def test_rare_classes_weigh_more() -> None:
    targets = one_hot(0, 0, 0, 1)
    assert class_weights(targets).tolist() == pytest.approx([4 / 6, 2.0, 0.0]), "scikit-learn's 'balanced'"
    assert picture_weights(targets, multi_label=False).tolist() == pytest.approx([4 / 6] * 3 + [2.0])
    many = torch.tensor([[1.0, 0.0], [0.0, NAN], [0.0, 1.0], [0.0, 0.0]])
    drawn = picture_weights(many, multi_label=True)
    assert drawn[0] > drawn[3] and drawn[2] > drawn[3]
    balanced = loss_of(TrainingPlan(class_weights="balanced"), many, multi_label=True)
    plain = loss_of(TrainingPlan(), many, multi_label=True)
    missed = (torch.tensor([[-2.0, 0.0]]), torch.tensor([[1.0, NAN]]))
    assert float(balanced(*missed)) == pytest.approx(3 * float(plain(*missed)))


def test_mixtures_of_what_is_not_known_are_not_known() -> None:
    torch.manual_seed(0)
    pictures, targets = mixed(torch.rand(4, 3, 2, 2), torch.tensor([[1.0], [0.0], [NAN], [1.0]]), 0.4)
    assert torch.isnan(targets[2]).all() and int(torch.isnan(targets).sum()) in (1, 2)
    assert pictures.shape == (4, 3, 2, 2)


def test_stages_are_the_head_first_then_all() -> None:
    plan = TrainingPlan(epochs=3, freeze_epochs=2, head_lr=0.1, lr=0.01, batch=4, warmup_epochs=0, min_steps=40)
    schedule = schedule_of(plan, 13)
    assert (schedule.steps_per_epoch, schedule.epochs) == (3, 14), "one picture alone is left out; 14 x 3 steps > 40"
    assert [schedule.stage_of(epoch) for epoch in (0, 1, 2, 13)] == [0, 0, 1, 1]
    assert rate_at(plan, schedule, 0, 0) == 0.1 and rate_at(plan, schedule, 2, 0) == 0.01
    assert rate_at(plan, schedule, 13, 2) < 0.001
    explicit = TrainingPlan(stages=(StagePlan(train=2, epochs=1, lr=0.5),))
    assert schedule_of(explicit, 100).stages[0].lr == 0.5


def test_batches_of_one_picture_are_refused_where_nothing_can_be_averaged() -> None:
    for model, imgsz, refused in (("tf_efficientnet_lite0", 32, True), ("tf_efficientnet_lite0", 64, False),
                                  ("improved-cnn", 64, True), ("small-cnn", 32, False),
                                  ("vit_tiny_patch16_224", 32, False)):  # fmt: skip
        network, plan = networks.build_bare(model, 2, imgsz), TrainingPlan(model=model, imgsz=imgsz, batch=1)
        before = {name: value.clone() for name, value in network.state_dict().items()}
        if refused:
            with pytest.raises(ConfigError, match=rf"{model} cannot learn from batches of one picture of {imgsz} px"):
                refuse_batches_of_one(network, plan)
        else:
            refuse_batches_of_one(network, plan)
        assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


@pytest.mark.parametrize("model", ["small-cnn", "tf_efficientnet_lite0", "vit_tiny_patch16_224"])
def test_what_is_frozen_does_not_learn(model: str) -> None:
    network = networks.build_bare(model, 2, 32)
    everything = sum(1 for _ in network.parameters())
    learning = {}
    for train in ("head", 1, 2, "all"):
        unfreeze(network, train)  # type: ignore[arg-type]
        learning[train] = sum(parameter.requires_grad for parameter in network.parameters())
    assert learning["head"] < learning[1] < learning[2] < learning["all"] == everything
    unfreeze(network, "head")
    set_modes(network)
    norms = [m for m in network.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert not any(norm.training for norm in norms), "frozen statistics would drift"
    assert sum(len(group["params"]) for group in parameter_groups(network, TrainingPlan())) == learning["head"]
    unfreeze(network, "all")
    scales = {group["lr_scale"] for group in parameter_groups(network, TrainingPlan(layer_decay=0.5))}
    assert max(scales) == 1.0 and min(scales) < 0.5


def test_augmentation_follows_the_plan() -> None:
    square = torch.randint(0, 255, (3, 32, 32), dtype=torch.uint8)
    still = {"flip": False, "degrees": 0, "translate": 0, "scale": 0, "brightness": 0, "contrast": 0, "saturation": 0}
    assert augmentation(TrainingPlan(imgsz=32, hue=0, **still)) is None
    turning = augmentation(TrainingPlan(imgsz=32, hue=0, **{**still, "degrees": 180}))
    bright = torch.full((3, 32, 32), 200, dtype=torch.uint8)
    for _ in range(10):
        assert int(turning(bright).min()) > 150, "a corner is black"
    erasing = augmentation(TrainingPlan(imgsz=32, hue=0, **still, erase=1.0))
    halves = torch.cat([torch.full((3, 32, 16), 100), torch.full((3, 32, 16), 201)], 2).to(torch.uint8)
    patches = torch.cat([erasing(halves).unique() for _ in range(10)]).unique()
    assert patches.tolist() == [100, 150, 201], "a patch is of the picture's mean colour, and never black"
    full = augmentation(TrainingPlan(imgsz=32, blur=1.0, erase=1.0, scale=0.9))
    changed = full(square)
    assert changed.shape == square.shape and changed.dtype == torch.uint8 and not torch.equal(changed, square)


@pytest.mark.parametrize("head", ["logistic", "svm-linear", "svm-rbf"])
@pytest.mark.parametrize(("classes", "multi_label"), [(2, False), (3, False), (2, True)])
@pytest.mark.parametrize("pca", [0, 3])
def test_a_head_kept_as_numbers_scores_as_scikit_learn_does(
    head: Any, classes: int, multi_label: bool, pca: int
) -> None:
    from sklearn.decomposition import PCA
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC, LinearSVC

    random = np.random.default_rng(0)
    labels = random.integers(0, classes, 60)
    rows = random.normal(size=(60, 6)) + labels[:, None] * np.arange(6)
    targets = np.eye(classes)[labels]
    if multi_label:
        targets[::7, 0] = NAN
    plan = TrainingPlan(head=head, C=0.5, pca=pca)
    numbers = fit(rows, targets, plan, multi_label=multi_label)
    shape = {"blocks": 0, "features": 6, "pca": len(numbers.axes), "support": len(numbers.support)}
    made = networks.FrozenFeatures(torch.nn.Identity(), classes, **shape)
    for name, values in vars(numbers).items():
        getattr(made, name).copy_(torch.as_tensor(values))
    ours = made.scores(torch.from_numpy(rows)).numpy()

    seen = StandardScaler().fit_transform(rows)
    seen = PCA(pca, random_state=0).fit_transform(seen) if pca else seen
    if head == "logistic" and not multi_label:
        theirs = LogisticRegression(C=0.5, max_iter=5000).fit(seen, labels).predict_proba(seen)
        np.testing.assert_allclose(torch.from_numpy(ours).softmax(1).numpy(), theirs, atol=1e-9)
        return
    for label in range(classes):
        known = ~np.isnan(targets[:, label])
        sort = {"logistic": LogisticRegression(C=0.5, max_iter=5000), "svm-rbf": SVC(C=0.5),
                "svm-linear": LinearSVC(C=0.5, random_state=0, max_iter=5000)}[head]  # fmt: skip
        if head == "svm-rbf":
            sort.set_params(gamma=1 / (seen.shape[1] * seen.var()))
        theirs = sort.fit(seen[known], targets[known, label] > 0.5).decision_function(seen)
        np.testing.assert_allclose(ours[:, label], theirs, atol=1e-8)


def test_a_class_or_label_of_which_nothing_was_shown() -> None:
    rows = np.random.default_rng(0).normal(size=(20, 4))
    absent = fit(rows, np.eye(3)[[0, 1] * 10], TrainingPlan(head="logistic"), multi_label=False)
    assert absent.intercept[2] < -20 and not absent.coef[2].any()
    always = np.column_stack([np.ones(20), rows[:, 0] > 0, np.full(20, NAN)]).astype(float)
    found = fit(rows, always, TrainingPlan(head="logistic"), multi_label=True)
    assert found.intercept[0] > 3 and found.intercept[2] == 0 and found.coef[1].any()


def test_a_faultless_validation_split_makes_no_model_ever_surer() -> None:
    targets = np.eye(3)[[0, 1, 2] * 4]
    assert 0.2 < fitted_temperature(targets * 2.0, targets, multi_label=False) < 3
    assert fitted_temperature(targets * 2.0 - 1, targets, multi_label=True) >= 1
    unsure = np.where(np.random.default_rng(0).random((60, 1)) < 0.6, 1.0, -1.0) * np.array([[8.0, -8.0]])
    assert fitted_temperature(unsure, np.eye(2)[[0] * 60], multi_label=False) > 2


def test_scores_are_scikit_learns() -> None:
    logits = np.array([[2.0, 0.0, 0.0], [0.0, 1.0, 0.0], [1.0, 0.0, 0.5], [0.0, 0.0, 3.0]])
    found = scores_of(logits, np.eye(3)[[0, 1, 1, 2]], multi_label=False)
    assert found["accuracy"] == 0.75 and found["balanced_accuracy"] == pytest.approx((1 + 0.5 + 1) / 3)
    many = scores_of(np.array([[1.0, -1.0], [-1.0, 1.0]]), np.array([[1.0, NAN], [0.0, NAN]]), multi_label=True)
    assert (many["accuracy"], many["ROC_AUC"]) == (1.0, 1.0)


def test_precision() -> None:
    assert precision_of("auto", "cpu") == (None, False)
    assert precision_of("bf16", "cpu") == (torch.bfloat16, False)
    assert precision_of("fp16", "cuda:0") == (torch.float16, True)
