"""The weights of a training's last epochs, kept to be averaged at its end. For workers only.

What is kept of an epoch is the moving average of weights that is validated, in full precision. It lies in files beside
ultralytics' own, so that it need not fit into memory, and goes into each checkpoint.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from tasks.whole_files import written_whole


def recent(folder: Path) -> list[Path]:
    """The files of the last epochs, oldest first."""
    return sorted(folder.glob("recent-*.weights"))


def keep_recent(folder: Path, epoch: int, average: torch.nn.Module, learning: torch.nn.Module, most: int) -> None:
    """Keep an epoch's weights, and so many in all.

    Args:
        folder: Of the run's weights.
        epoch: Counted from 0, within the stage.
        average: Whose weights are kept.
        learning: The network that it is the average of, as it is trained: norms of frozen layers do not measure.
        most: Older ones go.
    """
    norms = {name: each for name, each in learning.named_modules() if isinstance(each, torch.nn.BatchNorm2d)}
    content = {
        "weights": {name: value.detach().cpu() for name, value in average.state_dict().items()},
        "frozen": [name for name, each in norms.items() if not each.training],
    }
    with written_whole(folder / f"recent-{epoch:06d}.weights") as part:
        torch.save(content, part)
    for path in recent(folder)[:-most]:
        path.unlink()


def mean_of_recent(folder: Path) -> tuple[dict[str, torch.Tensor], set[str]]:
    """The mean of what was kept, and the names of norms whose layers were frozen."""
    held = [torch.load(path, map_location="cpu", weights_only=True) for path in recent(folder)]
    return mean_of([each["weights"] for each in held]), set(held[-1]["frozen"])


def mean_of(states: list[Mapping[str, Any]]) -> dict[str, torch.Tensor]:
    """The mean of several models' tensors, by name.

    Args:
        states: Of one architecture. What is no floating-point number (counts of batches) is taken from the last.
    """
    return {
        name: (sum(state[name].double() for state in states) / len(states)).to(torch.float32)
        if last.is_floating_point() else last
        for name, last in states[-1].items()
    }  # fmt: skip
