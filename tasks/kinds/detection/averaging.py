"""One detector out of several of the same architecture: the mean of their weights. For workers only.

    average_last    the last epochs of one training (Izmailov et al. 2018, arXiv:1803.05407, of equal weights)
    fusion: weights several trainings that began with the same weights (Wortsman et al. 2022, arXiv:2203.05482)

The statistics of batch normalisation belong to the weights that they were taken with. They are taken anew, from
training pictures as they are (Izmailov et al., section 3.2): what the mean weights compute varies less than what each
epoch's did. Those of frozen layers stay: the layers after them have learned from them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from tasks.training.ultralytics_loading import load_checkpoint
from tasks.training.ultralytics_recent import mean_of, mean_of_recent, recent

PICTURES, BATCH, STRIDE_PX = 128, 8, 32
"""Training pictures that the statistics are taken from, evenly over the split."""


def average_of_last(run: Path, pictures: Sequence[Path], imgsz: int) -> Path | None:
    """Write the mean of a run's last epochs as a checkpoint of ultralytics'; None: nothing was kept of them.

    Args:
        run: Ultralytics' folder of the run.
        pictures: That it learned from.
        imgsz: Longest side that these are scaled to.
    """
    weights = run / "weights"
    if not recent(weights):
        return None
    content = load_checkpoint(weights / "last.pt")
    content["ema"] = with_mean(content["ema"], *mean_of_recent(weights), pictures, imgsz)
    torch.save(content, weights / "averaged.pt")
    return weights / "averaged.pt"


def average_of(weights: Sequence[Path], pictures: Sequence[Path], imgsz: int, target: Path) -> Path:
    """Write the mean of some finished detectors.

    Args:
        weights: Their files, which `review.finished_weights` wrote.
        pictures: That they learned from.
        imgsz: Longest side that these are scaled to.
        target: Where to write it.
    """
    held = [load_checkpoint(path) for path in weights]
    states = [each["model"].state_dict() for each in held]
    frozen = {name.removesuffix(".running_mean") for name in states[0] if _same_norm(name, states)}
    torch.save({**held[0], "model": with_mean(held[0]["model"], mean_of(states), frozen, pictures, imgsz)}, target)
    return target


def _same_norm(name: str, states: Sequence[dict[str, torch.Tensor]]) -> bool:
    """Whether a norm's statistics are the same in all, but for rounding: of those that measured, no two are."""
    variance = name.replace("running_mean", "running_var")
    return name.endswith(".running_mean") and all(
        torch.allclose(state[each].float(), states[0][each].float(), rtol=1e-3, atol=1e-5)
        for state in states for each in (name, variance)
    )  # fmt: skip


def with_mean(
    network: Any, mean: dict[str, torch.Tensor], frozen: set[str], pictures: Sequence[Path], imgsz: int
) -> Any:
    """A network with these tensors, its statistics taken anew, in half precision as ultralytics keeps it.

    Args:
        network: Of the architecture.
        mean: Its tensors by name.
        frozen: Names of the norms that keep their statistics.
        pictures, imgsz: As above.
    """
    network = network.float()
    network.load_state_dict(mean)
    norms = [
        each for name, each in network.named_modules()
        if isinstance(each, torch.nn.BatchNorm2d) and name not in frozen
    ]  # fmt: skip
    measure_anew(network, norms, batches(pictures, imgsz))
    return network.half().eval()


def measure_anew(network: Any, norms: Sequence[Any], images: Iterable[torch.Tensor]) -> None:
    """Take the statistics of some norms anew. (`torch.optim.swa_utils.update_bn` takes all, also of frozen layers.)

    Args:
        network: In full precision.
        norms: Its layers of batch normalisation that are to be measured; the others stay as they are.
        images: Batches [n, 3, height, width] in [0, 1].
    """
    momenta = [each.momentum for each in norms]
    network.eval()
    for each in norms:
        each.reset_running_stats()
        each.momentum = None  # the mean over all batches
        each.train()
    with torch.no_grad():
        for batch in images:
            network(batch)
    for each, momentum in zip(norms, momenta, strict=True):
        each.momentum = momentum
        each.eval()


def batches(pictures: Sequence[Path], imgsz: int) -> Iterator[torch.Tensor]:
    """Some of these pictures, as the finished detector looks at them, in [0, 1]: those of one shape together.

    Args:
        pictures: All of a split.
        imgsz: Longest side that they are scaled to; they are padded to the stride, and no further.
    """
    import cv2
    import numpy as np
    from PIL import Image
    from ultralytics.data.augment import LetterBox

    by_shape: dict[tuple[int, int], list[Path]] = {}
    for path in dict.fromkeys(pictures[index * len(pictures) // PICTURES] for index in range(PICTURES)):
        with Image.open(path) as image:
            by_shape.setdefault(image.size, []).append(path)
    scale = LetterBox((imgsz, imgsz), auto=True, stride=STRIDE_PX)
    for group in by_shape.values():
        for start in range(0, len(group), BATCH):
            read = [scale(image=cv2.imread(str(path), cv2.IMREAD_COLOR)) for path in group[start : start + BATCH]]
            images = np.ascontiguousarray(np.stack(read)[..., ::-1].transpose(0, 3, 1, 2))
            yield torch.from_numpy(images).float() / 255
