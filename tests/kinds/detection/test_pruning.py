"""Channels taken out of a finished detector: nothing else changes, and what is left is a detector like any other."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch

from tasks.config import RecipeChoice
from tasks.errors import ConfigError
from tasks.kinds.detection.detector import Detector
from tasks.kinds.detection.pruning import PRUNED, prune
from tasks.kinds.detection.recipe import find_architecture, load_recipe
from tasks.lake.blobs import hash_file
from tasks.training import ultralytics_offline as offline
from tasks.training.ultralytics_loading import load_checkpoint
from tests.bench.bench_pruning import with_zeros
from tests.kinds.detection.small_trainings import make_job, run, teacher_file


def network_of(model: str, folder: Path) -> Any:
    """A network, untrained, every norm of which has values of its own."""
    offline.prepare(folder / "yolo", 1)
    from ultralytics.nn.tasks import DetectionModel

    torch.manual_seed(5)
    network = DetectionModel(str(find_architecture(model)), nc=2, verbose=False).float()
    for norm in norms_of(network).values():
        norm.weight.data.uniform_(0.5, 1.5)
        norm.bias.data.uniform_(-0.2, 0.2)
        norm.running_mean.uniform_(-0.1, 0.1)
        norm.running_var.uniform_(0.5, 1.5)
    return network.eval()


def norms_of(network: Any) -> dict[str, Any]:
    return {name: each for name, each in network.named_modules() if isinstance(each, torch.nn.BatchNorm2d)}


@pytest.mark.parametrize("model", ["p3-tiny.yaml", "p3-small.yaml", "p3-p5-small.yaml", "yolov8n.yaml", "yolo11n.yaml"])
def test_what_is_left_computes_what_it_did_with_the_lost_channels_silent(model: str, tmp_path: Path) -> None:
    whole = network_of(model, tmp_path)
    pruned = copy.deepcopy(whole)
    prune(pruned, 0.3)
    kept, lost = norms_of(pruned), 0
    assert kept.keys() == norms_of(whole).keys(), "the layers are called as before"
    for name, norm in norms_of(whole).items():
        silent = ~torch.isin(norm.weight.data, kept[name].weight.data)
        lost += int(silent.sum())
        norm.weight.data[silent] = norm.bias.data[silent] = 0  # SiLU(0) is 0: nobody hears of that channel any more
    images = torch.rand(2, 3, 64, 96)
    assert lost > 0
    for found, wanted in zip(pruned(images)[1].values(), whole(images)[1].values(), strict=True):
        if isinstance(found, torch.Tensor):
            assert torch.allclose(found, wanted, atol=1e-4)
    again = copy.deepcopy(network_of(model, tmp_path))
    prune(again, 0.3)
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in pruned.state_dict().items())


def test_a_cpu_is_spared_by_narrower_layers_and_not_by_zeros(tmp_path: Path) -> None:
    """Zeros are multiplied like any other number. Operations are counted; `bench_pruning` times them."""
    from torch.utils.flop_counter import FlopCounterMode

    def work(network: Any) -> tuple[int, int]:
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            network(torch.zeros(1, 3, 64, 64))
        return counter.get_total_flops(), sum(each.numel() for each in network.parameters())

    network = network_of("p3-small.yaml", tmp_path)
    whole = work(network)
    zeros = with_zeros(network, 0.9)
    weights = [each.weight for each in zeros.modules() if isinstance(each, torch.nn.Conv2d)]
    share = sum(int((each == 0).sum()) for each in weights) / sum(each.numel() for each in weights)
    assert share == pytest.approx(0.9, abs=0.01)
    assert work(zeros) == whole, "nine tenths of the weights are 0, and nothing is saved"
    prune(network, 0.3)
    flops, parameters = work(network)
    assert flops < 0.65 * whole[0] and parameters < 0.6 * whole[1]


@pytest.mark.usefixtures("every_checkpoint")
def test_a_pruned_detector_learns_on_is_killed_saved_loaded_and_pruned_again(tmp_path: Path) -> None:
    start = teacher_file(tmp_path, "p3-small.yaml")
    asked: dict[str, Any] = {"model": "p3-small.yaml", "weights": "start.pt", "prune": 0.3}
    job = make_job(tmp_path, stages=[{"epochs": 1}, {"epochs": 2, "freeze": 1}], **asked)
    job = job.model_copy(update={"weights": start})
    events = run(job, tmp_path / "kept")
    parameters = {event["parameters"] for event in events if event["event"] == "started"}
    whole = sum(each.numel() for each in load_checkpoint(start)["model"].parameters())
    assert len(parameters) == 1 and parameters.pop() < 0.6 * whole
    weights = job.folder / "weights.pt"
    made = load_checkpoint(weights)["model"]
    assert made.yaml[PRUNED] == 0.3 and sum(each.numel() for each in made.parameters()) < 0.6 * whole
    detector = Detector(weights, oid=hash_file(weights), classes=("sperm", "impurity"), imgsz=64, device="cpu")
    assert detector.classes == ("sperm", "impurity")

    for epoch in (1, 2):
        folder = tmp_path / f"from {epoch}"
        folder.mkdir()
        run(job.model_copy(update={"folder": folder, "resume_from": tmp_path / "kept" / f"{epoch}.ckpt"}))
        assert (folder / "weights.pt").read_bytes() == weights.read_bytes(), f"gone on with after epoch {epoch}"

    on = make_job(tmp_path / "on", epochs=1, lr0=0, warmup_bias_lr=0, optimizer="SGD", momentum=0,
                  model="p3-small.yaml", weights="start.pt").model_copy(update={"weights": weights})  # fmt: skip
    run(on)
    same = load_checkpoint(on.folder / "weights.pt")["model"]
    assert same.yaml[PRUNED] == 0.3
    learned = [name for name, _ in made.named_parameters()]
    assert all(torch.equal(made.state_dict()[name], same.state_dict()[name]) for name in learned), "all is taken over"
    other = make_job(tmp_path / "other", epochs=1, weights="start.pt").model_copy(update={"weights": weights})
    with pytest.raises(ConfigError, match="a pruned detector learns on as it is") as caught:
        run(other)
    assert "p3-tiny.yaml" in str(caught.value)


def test_what_was_not_tried_is_refused(tmp_path: Path) -> None:
    for model, layer in (("lite0-p2-p4.yaml", "ImageNetFeatures"), ("yolo26n.yaml", "a head that answers twice")):
        with pytest.raises(ConfigError, match="nobody has tried") as caught:
            prune(network_of(model, tmp_path), 0.3)
        assert layer in str(caught.value)
    narrow = network_of("p3-tiny.yaml", tmp_path)
    with pytest.raises(ConfigError, match=r"0\.5 takes nothing out"):
        for _ in range(20):
            prune(narrow, 0.5)


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"prune": 0.3}, "prune: needs `weights` of a whole detector"),
        ({"prune": 0.95, "weights": "t.pt"}, "prune: expected a number from 0 to 0.9"),
        ({"prune": 0.3, "weights": "t.pt", "attention": "cbam"}, "prune: is not to be had with attention"),
        ({"stages": [{"prune": 0.3}]}, "prune: cannot be set, it holds for the whole training"),
        ({"model": "retinanet", "prune": 0.3}, "prune: no such argument"),
    ],
)  # fmt: skip
def test_what_a_recipe_cannot_say_of_pruning(changes: dict[str, Any], fault: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_recipe(RecipeChoice(name="detection-from-scratch", **changes))
    assert fault in str(caught.value)
