"""Layers that ultralytics lacks, for architectures of ours: features with ImageNet weights, and attention.

A row of an architecture's YAML names them as it names ultralytics' own, once `allow` was called. A file of weights
names them, too: whoever loads one without running what it holds (see `ultralytics_loading.py`) must know the classes
listed in `LAYERS`, under the name that this file has in Nightscope, and no others.

This file stands alone: MLflow copies it beside the weights, and imports nothing of Nightscope.
"""

from typing import Any, NamedTuple

import torch
from torch import nn
from ultralytics.nn.modules.conv import CBAM, Conv

HOME = "tasks.training.ultralytics_layers"
"""As what files of weights know this module, wherever it lies."""


class Blocks(NamedTuple):
    """Inverted residual blocks that follow each other: the first one changes stride and channels."""

    expansion: int
    channels: int
    repeats: int
    stride: int
    kernel: int


class Network(NamedTuple):
    """A network for ImageNet, without its classifier."""

    stem: int
    """Channels of the first convolution, of stride 2."""
    blocks: tuple[Blocks, ...]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    """What it subtracts from, and divides, a picture in [0, 1] by."""


NETWORKS = {
    # Table 1 of Tan and Le, arXiv:1905.11946; Lite has no squeeze-and-excitation, ReLU6 for swish, and a fixed stem.
    "efficientnet-lite0": Network(
        32,
        (
            Blocks(1, 16, 1, 1, 3), Blocks(6, 24, 2, 2, 3), Blocks(6, 40, 2, 2, 5), Blocks(6, 80, 3, 2, 3),
            Blocks(6, 112, 3, 1, 5), Blocks(6, 192, 4, 2, 5), Blocks(6, 320, 1, 1, 3),
        ),
        (127 / 255,) * 3,
        (128 / 255,) * 3,
    ),
}  # fmt: skip
"""By the names that `tasks/training/installed.py` gives their weights."""
FINEST, COARSEST = 4, 32


class ImageNetFeatures(nn.Module):  # type: ignore[misc]
    """Features of a network whose ImageNet weights are installed with us, at strides 4, 8, 16 (and 32), finest first.

    Built of ultralytics' own `Conv`, which it fuses, exports and counts. The input is a picture in [0, 1], as
    ultralytics gives it, and is scaled here as the network learned it: folded into the first convolution instead, the
    zeros that pad the picture would mean another grey.

    Args:
        name: Of `NETWORKS`.
        coarsest: Stride that it ends with, 16 or 32: what is coarser is left out.
    """

    def __init__(self, name: str, coarsest: int = COARSEST) -> None:
        super().__init__()
        network = NETWORKS[name]
        # Not part of the state: an average of weights would round it a little at each step. One buffer, not two: torch
        # keeps their names in a set, which each process would write in another order.
        scaling = torch.tensor([network.mean, network.std]).view(2, 3, 1, 1)
        self.register_buffer("scaling", scaling, persistent=False)
        self.stem = _convolution(3, network.stem, 3, stride=2)
        self.stages = nn.ModuleList()
        before, stride = network.stem, 2
        for row in network.blocks:
            stride *= row.stride
            if stride > coarsest:
                break
            if row.stride > 1 or not self.stages:
                self.stages.append(nn.Sequential())
            for repeat in range(row.repeats):
                own = row if repeat == 0 else row._replace(stride=1)
                self.stages[-1].append(InvertedResidual(before, own))
                before = row.channels

    def forward(self, pictures: torch.Tensor) -> list[torch.Tensor]:
        """Maps [batch, channels, height / stride, width / stride]; sides of pictures are multiples of 32."""
        features = self.stem((pictures - self.scaling[:1]) / self.scaling[1:])
        maps = []
        for stage in self.stages:
            features = stage(features)
            maps.append(features)
        return maps[1:]  # the first is of stride 2


class InvertedResidual(nn.Module):  # type: ignore[misc]
    """Sandler et al. 2018, arXiv:1801.04381, figure 3b: widened, filtered channel by channel, narrowed."""

    def __init__(self, before: int, row: Blocks) -> None:
        super().__init__()
        wide = before * row.expansion
        self.layers = nn.Sequential(
            *([_convolution(before, wide, 1)] if row.expansion > 1 else []),
            _convolution(wide, wide, row.kernel, stride=row.stride, groups=wide),
            Conv(wide, row.channels, 1, act=False),
        )
        self.adds = row.stride == 1 and before == row.channels

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """As many channels as the row says, of its stride."""
        found = self.layers(features)
        return features + found if self.adds else found


def _convolution(before: int, after: int, kernel: int, *, stride: int = 1, groups: int = 1) -> nn.Module:
    """Convolution, norm and ReLU6. TensorFlow pads an even side by less before than after where the stride is 2."""
    act = nn.ReLU6(inplace=True)
    if stride == 1:
        return Conv(before, after, kernel, 1, kernel // 2, groups, act=act)
    first = (kernel - stride) // 2
    pad = nn.ZeroPad2d((first, kernel - stride - first) * 2)
    return nn.Sequential(pad, Conv(before, after, kernel, stride, 0, groups, act=act))


class CoordinateAttention(nn.Module):  # type: ignore[misc]
    """Hou, Zhou and Feng 2021, arXiv:2103.02907, equations 4 to 9: weights by row and by column.

    Args:
        channels: Of the map.
        reduction: How much narrower the shared layer is, which has 8 channels at least.
    """

    def __init__(self, channels: int, reduction: int = 32) -> None:
        super().__init__()
        narrow = max(8, channels // reduction)
        self.shared = Conv(channels, narrow, 1, act=nn.Hardswish())
        self.rows = nn.Conv2d(narrow, channels, 1)
        self.columns = nn.Conv2d(narrow, channels, 1)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """A map of the same shape."""
        height = features.shape[2]
        by_row = features.mean(3, keepdim=True)
        by_column = features.mean(2, keepdim=True).transpose(2, 3)
        both = self.shared(torch.cat([by_row, by_column], dim=2))
        rows = self.rows(both[:, :, :height]).sigmoid()
        columns = self.columns(both[:, :, height:].transpose(2, 3)).sigmoid()
        return features * rows * columns


class ShuffleAttention(nn.Module):  # type: ignore[misc]
    """Zhang and Yang 2021, arXiv:2102.00240, equations 1 to 4: of each group, half of the channels get a weight for
    each channel, the other half one for each place; then the halves are shuffled.

    Args:
        channels: Of the map.
        groups: At most; fewer where channels cannot be divided into so many pairs.
    """

    def __init__(self, channels: int, groups: int = 8) -> None:
        super().__init__()
        self.groups = next(each for each in range(groups, 0, -1) if channels % (2 * each) == 0)
        half = channels // (2 * self.groups)
        self.channel_weight = nn.Parameter(torch.zeros(1, half, 1, 1))
        self.channel_bias = nn.Parameter(torch.ones(1, half, 1, 1))
        self.place_weight = nn.Parameter(torch.zeros(1, half, 1, 1))
        self.place_bias = nn.Parameter(torch.ones(1, half, 1, 1))
        self.norm = nn.GroupNorm(half, half)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """A map of the same shape."""
        _, channels, height, width = features.shape
        by_channel, by_place = features.reshape(-1, channels // self.groups, height, width).chunk(2, dim=1)
        mean = by_channel.mean((2, 3), keepdim=True)
        by_channel = by_channel * (self.channel_weight * mean + self.channel_bias).sigmoid()
        by_place = by_place * (self.place_weight * self.norm(by_place) + self.place_bias).sigmoid()
        together = torch.cat([by_channel, by_place], dim=1).reshape(-1, 2, channels // 2, height, width)
        return together.transpose(1, 2).reshape(-1, channels, height, width)


LAYERS: tuple[type[nn.Module], ...] = (ImageNetFeatures, InvertedResidual, CoordinateAttention, ShuffleAttention)
"""All that a file of weights may name of this module."""


def allow() -> None:
    """Have ultralytics know these layers, in architectures and in files of weights."""
    from ultralytics.nn import tasks

    known: Any = tasks._SafeLoad
    with known._lock:
        if known._registry is None:
            known._registry = known._build()
        known._registry |= {f"{HOME}.{layer.__qualname__}": layer for layer in LAYERS}
    for layer in (*LAYERS, CBAM):  # the last is ultralytics' own, and its architectures cannot name it
        setattr(tasks, layer.__name__, layer)  # where `parse_model` looks for the names in a row
