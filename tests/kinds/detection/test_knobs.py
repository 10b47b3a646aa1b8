"""Every value that a recipe may set of a training arrives where it does something: optimizer, loss, transforms."""

from __future__ import annotations

import copy
import math
import random
from pathlib import Path
from typing import Any

import pytest
import torch

from tasks.errors import ConfigError
from tasks.kinds.detection.copy_paste import CopyPaste
from tasks.training.ultralytics_knobs import Knobs
from tasks.training.ultralytics_losses import FocalLoss
from tasks.training.ultralytics_precision import precision
from tests.kinds.detection.small_trainings import during_training, set_up

SET: dict[str, Any] = {
    "optimizer": "SGD", "lr0": 0.007, "lrf": 0.3, "momentum": 0.8, "weight_decay": 0.003, "cos_lr": False,
    "warmup_epochs": 1.5, "warmup_momentum": 0.4, "warmup_bias_lr": 0.05, "box": 3.0, "cls": 2.0, "dfl": 0.7,
    "hsv_h": 0.1, "hsv_s": 0.2, "hsv_v": 0.3, "degrees": 77, "translate": 0.15, "scale": 0.25, "shear": 6,
    "perspective": 0.0005, "flipud": 0.35, "fliplr": 0.45, "bgr": 0.55, "rect": False, "mosaic": 0.65, "mixup": 0.75,
    "cutmix": 0.85, "copy_paste": 0.95, "close_mosaic": 1, "patience": 7, "epochs": 4, "batch": 4, "nbs": 8,
    "ema": 0.9, "ema_tau": 50, "clip_norm": 2.5, "focal_gamma": 1.5, "freeze": 1, "deterministic": True, "imgsz": 64,
    "multi_scale": 0.5,
}  # fmt: skip


@pytest.fixture(scope="module")
def trainer(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """One that everything is set of, ready to train."""
    return set_up(tmp_path_factory.mktemp("knobs"), **SET)


def transform(trainer: Any, name: str, place: int = 0) -> Any:
    """The transform of that class in the pipeline of training frames."""
    found: list[Any] = []

    def look(each: Any) -> None:
        for part in getattr(each, "transforms", []) if type(each).__name__ == "Compose" else []:
            found.extend([part] if type(part).__name__ == name else [])
            look(part)

    look(trainer.train_loader.dataset.transforms)
    return found[place]


def group(trainer: Any, name: str) -> dict[str, Any]:
    """The optimizer's group of weights, bias or bn."""
    return next(each for each in trainer.optimizer.param_groups if each["param_group"] == name)


REACHED = {
    "optimizer": lambda t: type(t.optimizer).__name__,
    "lr0": lambda t: group(t, "bias")["initial_lr"],
    "lrf": lambda t: t.lf(t.epochs),
    "momentum": lambda t: group(t, "bn")["momentum"],
    "weight_decay": lambda t: group(t, "weight")["weight_decay"],
    "hsv_h": lambda t: transform(t, "RandomHSV").hgain,
    "hsv_s": lambda t: transform(t, "RandomHSV").sgain,
    "hsv_v": lambda t: transform(t, "RandomHSV").vgain,
    **{key: lambda t, key=key: getattr(transform(t, "RandomPerspective"), key)
       for key in ("degrees", "translate", "scale", "shear", "perspective")},
    "flipud": lambda t: transform(t, "RandomFlip", 0).p,
    "fliplr": lambda t: transform(t, "RandomFlip", 1).p,
    "bgr": lambda t: transform(t, "Format").bgr,
    "mosaic": lambda t: transform(t, "Mosaic").p,
    "mixup": lambda t: transform(t, "MixUp").p,
    "cutmix": lambda t: transform(t, "CutMix").p,
    "copy_paste": lambda t: transform(t, "CopyPaste").share,
    "patience": lambda t: t.stopper.patience,
    "epochs": lambda t: t.epochs,
    "batch": lambda t: t.train_loader.batch_size,
    "nbs": lambda t: t.accumulate * t.batch_size,
    "imgsz": lambda t: t.train_loader.dataset.imgsz,
    "rect": lambda t: t.train_loader.dataset.rect,
    "warmup_epochs": lambda t: t._get_warmup_iterations(100) / 100,
    "deterministic": lambda t: torch.are_deterministic_algorithms_enabled(),
}  # fmt: skip
"""Values that can be read off a trainer which is set up. The others have tests of their own below."""


@pytest.mark.parametrize("key", sorted(REACHED))
def test_it_arrives(trainer: Any, key: str) -> None:
    assert REACHED[key](trainer) == pytest.approx(SET[key])


def test_the_rate_falls_as_a_line_or_as_half_a_cosine(trainer: Any, tmp_path: Path) -> None:
    assert trainer.lf(1) == pytest.approx(0.3 + 0.7 * 0.75)
    cosine = set_up(tmp_path, epochs=4, cos_lr=True, lrf=0.3)
    assert cosine.lf(1) == pytest.approx(0.3 + 0.7 * (1 + math.cos(math.pi / 4)) / 2)


def test_it_warms_up(tmp_path: Path) -> None:
    trainer = set_up(
        tmp_path, optimizer="SGD", warmup_epochs=1, warmup_momentum=0.4, warmup_bias_lr=0.05, momentum=0.8, lr0=0.007
    )
    seen = during_training(
        trainer,
        "on_train_batch_end",
        lambda t: (group(t, "bias")["lr"], group(t, "weight")["lr"], group(t, "weight")["momentum"]),
    )
    assert seen[0] == pytest.approx((0.05, 0.0, 0.4)), "the first step"
    assert seen[2][2] == pytest.approx(0.8), "the first step after one epoch of two"
    assert seen[2][0] == pytest.approx(seen[2][1]) and seen[2][1] > 0


def losses(trainer: Any) -> dict[str, float]:
    """Of one batch, before any step; the same for trainers that draw the same numbers."""
    random.seed(0)
    torch.manual_seed(0)
    trainer.model.train()
    items = trainer.train_loader.dataset
    batch = items.collate_fn([items[index] for index in range(4)])
    _, parts = trainer.model(trainer.preprocess_batch(batch))
    return {name: float(value) for name, value in parts.items()}


def test_gains_weigh_the_parts_of_the_loss(tmp_path: Path) -> None:
    still = {"hsv_h": 0, "hsv_s": 0, "hsv_v": 0, "scale": 0, "translate": 0, "fliplr": 0, "flipud": 0}
    plain = losses(set_up(tmp_path / "plain", **still))
    other = losses(set_up(tmp_path / "other", **still, box=15.0, cls=1.5, dfl=0.75))
    focal = losses(set_up(tmp_path / "focal", **still, focal_gamma=2.0))
    assert plain["cls_loss"] > 0
    assert other["box_loss"] == pytest.approx(2 * plain["box_loss"], rel=1e-5)
    assert other["cls_loss"] == pytest.approx(3 * plain["cls_loss"], rel=1e-5)
    assert other["dfl_loss"] == pytest.approx(plain["dfl_loss"] / 2, rel=1e-5)
    assert focal["cls_loss"] < plain["cls_loss"] / 2
    assert (focal["box_loss"], focal["dfl_loss"]) == pytest.approx((plain["box_loss"], plain["dfl_loss"]))


def test_focal_loss_is_the_papers_formula() -> None:
    logits, targets = torch.tensor([0.3, -2.0, 1.0], requires_grad=True), torch.tensor([1.0, 0.0, 0.4])
    score = torch.sigmoid(logits.detach())
    plain = -(targets * score.log() + (1 - targets) * (1 - score).log())
    assert torch.allclose(FocalLoss(0.0)(logits, targets), plain)
    assert torch.allclose(FocalLoss(2.0)(logits, targets), plain * (targets - score) ** 2)
    sure = torch.tensor([60.0], requires_grad=True)
    FocalLoss(0.5)(sure, torch.tensor([1.0])).sum().backward()
    assert torch.isfinite(sure.grad).all(), "an answer that is right has no slope, not an endless one"


def test_the_validation_loss_is_focal_too(trainer: Any) -> None:
    for network in (trainer.model, trainer.ema.ema):
        assert network.criterion.bce.gamma == SET["focal_gamma"]


@pytest.mark.parametrize(("architecture", "parts"), [("yolo26n.yaml", 2), ("yolo11n.yaml", 1)])
def test_heads_of_ultralytics_learn_by_the_focal_loss(tmp_path: Path, architecture: str, parts: int) -> None:
    trainer = set_up(tmp_path, model=architecture, focal_gamma=1.0)
    criterion = trainer.model.criterion
    of = (criterion.one2many, criterion.one2one) if parts == 2 else (criterion,)
    assert [each.bce.gamma for each in of] == [1.0] * parts


def test_gradients_are_clipped_as_asked(tmp_path: Path) -> None:
    def moved(clip: float) -> float:
        trainer = set_up(tmp_path / str(clip), optimizer="SGD", lr0=0.01, momentum=0.9, weight_decay=0, clip_norm=clip)
        weights = [each for each in trainer.model.parameters() if each.requires_grad]
        before = [each.detach().clone() for each in weights]
        for each in weights:
            each.grad = torch.ones_like(each)
        trainer.optimizer_step()
        away = math.sqrt(sum(float(((a - b) ** 2).sum().detach()) for a, b in zip(before, weights, strict=True)))
        assert trainer.steps == 1
        return away / group(trainer, "bn")["lr"] / 1.9  # Nesterov's first step: gradient + momentum x gradient

    free = moved(0)
    assert free > 100
    assert moved(10) == pytest.approx(10, rel=1e-3), "ultralytics' own"
    assert moved(2.5) == pytest.approx(2.5, rel=1e-3)


def test_the_average_of_weights(trainer: Any, tmp_path: Path) -> None:
    assert trainer.ema.decay(50) == pytest.approx(0.9 * (1 - math.exp(-1)))
    none = set_up(tmp_path, ema=0)
    for each in none.model.parameters():
        each.data += 1
    none.ema.update(none.model)
    pairs = zip(none.model.state_dict().values(), none.ema.ema.state_dict().values(), strict=True)
    assert all(torch.equal(live, kept) for live, kept in pairs)


def test_defaults_of_ours_are_what_ultralytics_does(tmp_path: Path) -> None:
    from ultralytics.utils.torch_utils import ModelEMA

    trainer = set_up(tmp_path)
    theirs = ModelEMA(trainer.model)
    assert trainer.knobs == Knobs()
    assert [trainer.ema.decay(x) for x in (1, 400, 10**6)] == [theirs.decay(x) for x in (1, 400, 10**6)]
    assert getattr(trainer.model, "criterion", None) is None, "ultralytics makes its own when it needs it"


def test_it_steps_as_ultralytics_steps(tmp_path: Path) -> None:
    """Our step stands for theirs, which clips at 10 whatever is asked for: by default it is the same to the bit."""
    from ultralytics.engine.trainer import BaseTrainer

    ours = set_up(tmp_path, optimizer="AdamW")
    theirs = copy.deepcopy({"model": ours.model, "ema": ours.ema.ema})
    for each in ours.model.parameters():
        if each.requires_grad:
            each.grad = torch.full_like(each, 3.0)
    state = copy.deepcopy(ours.optimizer.state_dict())
    ours.optimizer_step()
    after = [each.detach().clone() for each in ours.model.parameters()]
    average = [each.clone() for each in ours.ema.ema.parameters()]
    ours.model.load_state_dict(theirs["model"].state_dict())
    ours.ema.ema.load_state_dict(theirs["ema"].state_dict())
    ours.ema.updates = 0
    ours.optimizer.load_state_dict(state)
    for each in ours.model.parameters():
        if each.requires_grad:
            each.grad = torch.full_like(each, 3.0)
    BaseTrainer.optimizer_step(ours)
    assert all(torch.equal(a, b) for a, b in zip(after, ours.model.parameters(), strict=True))
    assert all(torch.equal(a, b) for a, b in zip(average, ours.ema.ema.parameters(), strict=True))


@pytest.mark.parametrize(
    ("freeze", "learning"),
    [(1, {"model.1", "model.2", "model.3"}), ([0, 2], {"model.1", "model.3"}), ("backbone", {"model.3"}),
     ("all-but-head", {"model.3"}), (None, {"model.0", "model.1", "model.2", "model.3"})],
)  # fmt: skip
def test_frozen_layers_do_not_learn(tmp_path: Path, freeze: Any, learning: set[str]) -> None:
    trainer = set_up(tmp_path, freeze=freeze, epochs=1)
    weights = {name: each.detach().clone() for name, each in trainer.model.named_parameters()}
    found = {".".join(name.split(".")[:2]) for name, each in trainer.model.named_parameters() if each.requires_grad}
    assert found == learning
    trainer._do_train()
    changed = {name for name, each in trainer.model.named_parameters() if not torch.equal(each, weights[name])}
    assert {".".join(name.split(".")[:2]) for name in changed} <= learning


def test_sizes_vary_with_multi_scale(trainer: Any) -> None:
    random.seed(3)
    sizes = {
        trainer.preprocess_batch({"img": torch.zeros(1, 3, 64, 64, dtype=torch.uint8)})["img"].shape[-1]
        for _ in range(40)
    }
    assert sizes == {32, 64, 96}


def test_mixing_of_frames_ends_some_epochs_before_the_end(tmp_path: Path) -> None:
    mixing = {"rect": False, "mosaic": 0.5, "mixup": 0.5, "cutmix": 0.5, "copy_paste": 0.5}
    trainer = set_up(tmp_path, **mixing, close_mosaic=1, epochs=2)
    seen = during_training(
        trainer,
        "on_train_epoch_end",
        lambda t: (
            *(transform(t, name).p for name in ("Mosaic", "MixUp", "CutMix")),
            any(isinstance(each, CopyPaste) for each in t.train_loader.dataset.transforms.transforms),
        ),
    )
    assert seen == [(0.5, 0.5, 0.5, True), (0.0, 0.0, 0.0, False)]


def test_gradients_are_accumulated_to_the_nominal_batch(tmp_path: Path) -> None:
    trainer = set_up(tmp_path, batch=2, nbs=4, epochs=3, warmup_epochs=0)
    trainer._do_train()
    assert trainer.steps == 6, "eight images: four batches of two an epoch, two to a step"


def test_training_may_be_allowed_to_differ(tmp_path: Path) -> None:
    set_up(tmp_path, deterministic=False)
    assert not torch.are_deterministic_algorithms_enabled()


def test_rare_classes_weigh_more(tmp_path: Path) -> None:
    trainer = set_up(tmp_path, cls_pw=1.0)
    assert trainer.model.class_weights.tolist() == pytest.approx([1.0, 1.0]), "as many of each are in the images"


@pytest.mark.parametrize(
    ("asked", "on_gpu", "on_cpu"),
    [("auto", "bf16", False), ("fp32", False, False), (False, False, False), ("bf16", "bf16", None),
     ("fp16", "fp16", None), (True, "fp16", None)],
)  # fmt: skip
def test_precision_is_given_or_refused(asked: Any, on_gpu: Any, on_cpu: Any) -> None:
    assert precision(asked, "cuda:0") == on_gpu
    if on_cpu is None:
        with pytest.raises(ConfigError, match=r"amp: .* has no effect on a CPU"):
            precision(asked, "cpu")
    else:
        assert precision(asked, "cpu") == on_cpu


@pytest.mark.filterwarnings("ignore:torch.cuda.amp.GradScaler|.*GradScaler is enabled, but CUDA")
def test_fp16_is_taken_without_downloading_a_model_to_compare_with(tmp_path: Path) -> None:
    trainer = set_up(tmp_path)
    trainer.args.amp = "fp16"
    trainer.model = trainer.args.model
    trainer.optimizer = None
    trainer._setup_train()
    assert trainer.amp, "on a CPU ultralytics' own check says no; on a GPU it downloads"
