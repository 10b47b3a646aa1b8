"""The mean of several detectors' weights, as `bench_detectors --average` judges it."""

from __future__ import annotations

from pathlib import Path

import torch

from tasks.training.ultralytics_loading import load_checkpoint
from tests.bench.averaged import averaged
from tests.kinds.detection.small_trainings import teacher_file
from tests.training.conftest import write_dataset


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

    made = load_checkpoint(averaged([one, other], pictures, 64, tmp_path / "mean.pt"))["model"]

    first, second, mean = (
        each.state_dict() for each in (load_checkpoint(one)["model"], load_checkpoint(other)["model"], made)
    )
    for name in (key for key in mean if key.endswith("conv.weight")):
        wanted = (first[name].float() + second[name].float()) / 2
        assert torch.allclose(mean[name].float(), wanted, atol=1e-3), name
    seen: list[torch.Tensor] = []
    made.float().model[0].conv.register_forward_hook(lambda *call: seen.append(call[2]))
    with torch.no_grad():
        from cv2 import imread

        images = torch.stack([torch.from_numpy(imread(str(path))[..., ::-1].copy()) for path in pictures])
        made(images.permute(0, 3, 1, 2).float() / 255)
    norm = made.model[0].bn
    assert torch.allclose(norm.running_mean, seen[0].mean((0, 2, 3)), atol=1e-3), "not the 50 of the two files' mean"
    assert torch.allclose(norm.running_var, seen[0].var((0, 2, 3)), rtol=0.02)
    assert norm.momentum is not None and not made.training
