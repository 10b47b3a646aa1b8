"""Channels taken out of a finished detector before it learns on: structured pruning, by torch-pruning. Workers only.

Of every group of channels that hang together (a convolution, its norm, what reads it, what is added to it) the same
share goes, those of the least weights (group L2 norm: Fang et al. 2023, arXiv:2301.12900). What is left is a network of
ultralytics' own layers, narrower; it is saved, loaded, resumed and served as any, and nothing of it can run.

C2f halves what its first convolution gives, which torch-pruning does not follow: while channels are taken out, each
half has a convolution of its own, and both are one again afterwards. Kept as they are: the convolutions that answer
(boxes, classes), and blocks of attention, whose channels are counted out among their heads.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from typing import Any

import torch
from torch import nn
from ultralytics.nn.modules import C2f, Conv
from ultralytics.nn.modules.block import C2PSA
from ultralytics.nn.tasks import yaml_model_load

from tasks.errors import ConfigError

PRUNED = "pruned"
"""Key of a pruned network's `yaml`: the share that went. Its other keys are of the network that it was."""
ROUND_TO = 4
"""Channels are left in multiples of this, or a CPU's kernels would be slower than before."""
_SIDE = 64
KNOWN = {"Conv", "DWConv", "C2f", "C3k2", "C3", "C3k", "Bottleneck", "SPPF", "Upsample", "Concat", "Detect", "C2PSA"}
"""Layers of an architecture that this was tried with, by a test of each."""


class _Halves(nn.Module):  # type: ignore[misc]
    """A C2f whose first convolution is two."""

    def __init__(self, block: Any) -> None:
        super().__init__()
        self.first, self.second = (_part(block.cv1, half) for half in (0, 1))
        self.cv2, self.m = block.cv2, block.m
        self.f, self.i = block.f, block.i

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        found = [self.first(features), self.second(features)]
        found.extend(each(found[-1]) for each in self.m)
        return self.cv2(torch.cat(found, 1))


def _part(whole: Any, half: int) -> Any:
    """One half of a Conv's output channels, as a Conv of its own."""
    convolution, norm = whole.conv, whole.bn
    channels = convolution.out_channels // 2
    own = slice(half * channels, (half + 1) * channels)
    part = Conv(convolution.in_channels, channels, convolution.kernel_size[0], convolution.stride[0], act=whole.act)
    part.conv.weight.data = convolution.weight.data[own].clone()
    for name in ("weight", "bias", "running_mean", "running_var"):
        getattr(part.bn, name).data = getattr(norm, name).data[own].clone()
    part.bn.eps, part.bn.momentum = norm.eps, norm.momentum
    return part


def _join(block: Any, halves: _Halves) -> None:
    """Put both halves of what is left into a C2f's first convolution."""
    parts = (halves.first, halves.second)
    kept = [part.conv.out_channels for part in parts]
    if kept[0] != kept[1]:  # never seen: both began as wide, and lose the same share
        raise ConfigError("prune: the halves of a C2f lose unlike shares", found=f"{kept[0]} and {kept[1]} channels")
    convolution, norm = block.cv1.conv, block.cv1.bn
    convolution.weight = nn.Parameter(torch.cat([part.conv.weight.data for part in parts]))
    for name in ("weight", "bias"):
        setattr(norm, name, nn.Parameter(torch.cat([getattr(part.bn, name).data for part in parts])))
    for name in ("running_mean", "running_var"):
        setattr(norm, name, torch.cat([getattr(part.bn, name) for part in parts]))
    convolution.in_channels = parts[0].conv.in_channels
    convolution.out_channels = norm.num_features = sum(kept)
    block.c = kept[0]


def prune(network: Any, share: float) -> None:
    """Take a share of the channels out of each group, in place. The same network loses the same channels.

    Args:
        network: A `DetectionModel` in full precision, on the CPU.
        share: Of each group's channels, in (0, 1).

    Raises:
        ConfigError: It has layers that this was not tried with, or nothing can be taken out of it.
    """
    import torch_pruning  # type: ignore[import-untyped]

    _refuse_unknown(network)
    before = sum(each.numel() for each in network.parameters())
    gradients = {name: each.requires_grad for name, each in network.named_parameters()}
    network.eval().requires_grad_(True)
    parted = _part_all(network)
    pruner = torch_pruning.pruner.BasePruner(
        network, torch.zeros(1, 3, _SIDE, _SIDE), importance=torch_pruning.importance.GroupMagnitudeImportance(p=2),
        pruning_ratio=share, round_to=ROUND_TO, ignored_layers=_kept_whole(network), output_transform=_raw,
    )  # fmt: skip
    pruner.step()
    for owner, name, block, halves in parted:
        _join(block, halves)
        owner._modules[name] = block
    for name, each in network.named_parameters():
        each.requires_grad = gradients[name]
    for each in network.modules():
        if hasattr(each, "inplace"):  # as ultralytics sets it of whatever it loads
            each.inplace = True
    if sum(each.numel() for each in network.parameters()) >= before:
        raise ConfigError(
            f"prune: {share:g} takes nothing out of this detector", expected=f"{ROUND_TO} channels or more",
            found="none", fix="raise `prune`, or set it to 0",
        )  # fmt: skip
    network.yaml = {**network.yaml, PRUNED: share}


def already_pruned(cfg: Any, weights: Any, classes: int) -> Any:
    """The network that pruned weights are of, to learn on with; None: they are not pruned.

    Ultralytics would build their architecture as wide as it was, and take over what happens to fit: nearly nothing.

    Args:
        cfg: The architecture that is asked for: a file of ultralytics', or its content.
        weights: A loaded network; None: there are none.
        classes: Of the dataset.

    Raises:
        ConfigError: They are of another architecture, or another number of classes.
    """
    if weights is None or PRUNED not in weights.yaml:
        return None
    asked = cfg if isinstance(cfg, dict) else yaml_model_load(cfg)
    expected, found = [], []
    if any(asked[part] != weights.yaml[part] for part in ("backbone", "head")):
        expected.append("the `model` that they were pruned from, or none")
        found.append(f"model {asked.get('yaml_file', 'of other layers')}")
    if weights.model[-1].nc != classes:
        expected.append(f"{classes} classes, as the dataset has")
        found.append(f"{weights.model[-1].nc} classes")
    if expected:
        raise ConfigError(
            "weights: a pruned detector learns on as it is", expected="; ".join(expected), found="; ".join(found),
            fix="set `model` to null, or prune a detector of this line",
        )  # fmt: skip
    network = deepcopy(weights).float().requires_grad_(True)
    network.__dict__.pop("task", None)  # which loading adds, and building does not
    return network


def _refuse_unknown(network: Any) -> None:
    found = {type(layer).__name__ for layer in network.model}
    if hasattr(network.model[-1], "one2one_cv2"):
        found.add("a head that answers twice (YOLO26)")
    if unknown := sorted(found - KNOWN):
        raise ConfigError(
            "prune: this detector has layers whose channels nobody has tried to take out",
            expected=f"{', '.join(sorted(KNOWN))} alone", found=", ".join(unknown),
            fix="prune a detector of another `model`, such as p3-small.yaml or yolo11n.yaml",
        )  # fmt: skip


def _part_all(network: Any) -> list[tuple[Any, str, Any, _Halves]]:
    """Give each C2f two first convolutions: who holds it, under which name, itself, and what stands in its place."""
    parted = []
    for owner in list(network.modules()):
        for name, block in list(owner._modules.items()):
            if isinstance(block, C2f):
                halves = _Halves(block).eval()
                parted.append((owner, name, block, halves))
                owner._modules[name] = halves
    return parted


def _kept_whole(network: Any) -> list[Any]:
    head = network.model[-1]
    answers = [branch[-1] for branches in (head.cv2, head.cv3) for branch in branches]
    attention = [part for layer in network.modules() if isinstance(layer, C2PSA) for part in layer.modules()]
    return [*answers, head.dfl, *(each for each in attention if isinstance(each, nn.Conv2d))]


def _raw(output: Any) -> Sequence[torch.Tensor]:
    """What a detector answers before boxes are decoded."""
    return [output[1]["boxes"], output[1]["scores"]]
