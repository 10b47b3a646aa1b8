"""The mean of weights: of a training's last epochs, and of trainings that began with the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import pytest
import torch

from tasks.config import RecipeChoice
from tasks.errors import ConfigError
from tasks.kinds.detection.averaging import average_of
from tasks.kinds.detection.recipe import load_recipe
from tasks.training.ultralytics_loading import load_checkpoint
from tasks.training.ultralytics_recent import recent
from tests.kinds.detection.small_trainings import make_job, run, teacher_file
from tests.training.conftest import write_dataset


def state_of(path: Path) -> dict[str, torch.Tensor]:
    return {name: value.float() for name, value in load_checkpoint(path)["model"].state_dict().items()}


def test_weights_are_the_mean_and_norms_are_measured_anew(tmp_path: Path) -> None:
    write_dataset(tmp_path / "data", val=False)
    pictures = sorted((tmp_path / "data/images/train").glob("*.png"))
    one, other = teacher_file(tmp_path / "one"), teacher_file(tmp_path / "other")
    held = load_checkpoint(other)
    for name, value in held["model"].named_parameters():
        if name.endswith("conv.weight"):
            value.data += 0.25
    held["model"].model[0].bn.running_mean += 100
    torch.save(held, other)

    target = average_of([one, other], pictures, 64, tmp_path / "mean.pt")

    first, second, mean = (state_of(path) for path in (one, other, target))
    for name in (key for key in mean if key.endswith("conv.weight")):
        assert torch.allclose(mean[name], (first[name] + second[name]) / 2, atol=1e-3), name
    seen: list[torch.Tensor] = []
    made = load_checkpoint(target)["model"].float()
    made.model[0].conv.register_forward_hook(lambda *call: seen.append(call[2]))
    with torch.no_grad():
        images = torch.stack([torch.from_numpy(cv2.imread(str(path))[..., ::-1].copy()) for path in pictures])
        made(images.permute(0, 3, 1, 2).float() / 255)
    norm = made.model[0].bn
    assert torch.allclose(norm.running_mean, seen[0].mean((0, 2, 3)), atol=1e-3), "not the 50 of the two files' mean"
    assert torch.allclose(norm.running_var, seen[0].var((0, 2, 3)), rtol=0.02)
    assert norm.momentum is not None and not made.training
    untouched = "model.1.bn.running_mean"
    assert torch.equal(mean[untouched], first[untouched]), "the same in both: of a layer that was frozen"


@pytest.mark.usefixtures("every_checkpoint")
def test_the_last_epochs_of_the_last_stage_are_averaged_whenever_it_was_killed(tmp_path: Path) -> None:
    job = make_job(tmp_path, average_last=2, stages=[{"epochs": 2}, {"epochs": 3, "freeze": 1}])
    run(job, tmp_path / "kept")
    kept = recent(job.folder / "run/weights")
    assert [path.name for path in kept] == ["recent-000001.weights", "recent-000002.weights"], "its last two epochs"
    states = [torch.load(path, weights_only=True)["weights"] for path in kept]
    mean = state_of(job.folder / "weights.pt")
    learned = [name for name in mean if name.endswith(("conv.weight", ".bias"))]
    assert not torch.equal(states[0]["model.2.conv.weight"], states[1]["model.2.conv.weight"])
    for name in learned:
        assert torch.allclose(mean[name], (states[0][name] + states[1][name]) / 2, atol=1e-3, rtol=1e-3), name
    frozen, free = "model.0.bn.running_var", "model.2.bn.running_var"
    between = {name: (states[0][name] + states[1][name]) / 2 for name in (frozen, free)}
    assert torch.allclose(mean[frozen], between[frozen], rtol=1e-3), "a frozen layer's statistics are not touched"
    assert not torch.allclose(mean[free], between[free], rtol=1e-2), "measured anew"

    weights = (job.folder / "weights.pt").read_bytes()
    for epoch in (1, 2, 4, 5):
        folder = tmp_path / f"from {epoch}"
        folder.mkdir()
        run(job.model_copy(update={"folder": folder, "resume_from": tmp_path / "kept" / f"{epoch}.ckpt"}))
        assert (folder / "weights.pt").read_bytes() == weights, f"another model, gone on with after epoch {epoch}"


def test_switched_off_nothing_is_kept(tmp_path: Path) -> None:
    job = make_job(tmp_path, epochs=1)
    run(job)
    assert not recent(job.folder / "run/weights") and not (job.folder / "run/weights/averaged.pt").exists()


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"average_last": 1}, "average_last: the mean of one epoch is that epoch"),
        ({"average_last": 51}, "average_last: expected a whole number from 0 to 50"),
        ({"average_last": 11, "min_steps": 0}, "average_last: the last stage has fewer epochs than 11"),
        ({"stages": [{"average_last": 2}]}, "average_last: cannot be set, it holds for the whole training"),
        ({"model": "retinanet", "average_last": 2}, "average_last: no such argument"),
    ],
)  # fmt: skip
def test_what_cannot_be_averaged(changes: dict[str, Any], fault: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_recipe(RecipeChoice(name="detection-from-scratch", **changes))
    assert fault in str(caught.value)
