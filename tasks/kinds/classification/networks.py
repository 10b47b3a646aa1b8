"""Networks that say which classes a picture shows: two small ones of ours, timm's, classical heads on frozen features.

This file stands alone: it is copied beside `pyfunc_model.py`, and imports nothing of Nightscope. A network is built
from a **spec**, the JSON that stands in its file of weights:

    format        1
    model         one of ours, or a name of timm's
    classes       names, in the order of the outputs
    multi_label   whether each output is a yes or no of its own (sigmoid), or all of them are one choice (softmax)
    imgsz, fit    how a picture becomes a square, see `inference.py`
    mean, std     what is subtracted from R, G and B in [0, 1], and what they are divided by
    head          {"kind": "network"}, or what `FrozenFeatures` takes; there `more` are {model, weights, sha256} each
    temperature   {"plain": T, "tta": T}: what logits are divided by, without and with test-time augmentation
    dropout, drop_path   of the training
"""

import json
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import nn

FORMAT = 1
ALIKE_MEAN, ALIKE_DEVIATION = 128 / 255, 48 / 255
"""Of a picture whose contrast was made like all others', in [0, 1]."""


class _Ours(nn.Module):  # type: ignore[misc]
    """What our networks and timm's have in common, as far as it is used here."""

    blocks: nn.Sequential
    head: nn.Sequential

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        """Logits [n, classes] of pictures [n, 3, side, side]."""
        return self.head(self.blocks(pictures))

    def get_classifier(self) -> nn.Module:
        """The fully connected part."""
        return self.head

    def forward_intermediates(self, pictures: torch.Tensor, indices: Any = None) -> tuple[torch.Tensor, list[Any]]:
        """The last block's output, and those of the blocks `indices` (an int: so many of the last; None: all)."""
        outputs = []
        for block in self.blocks:
            pictures = block(pictures)
            outputs.append(pictures)
        return pictures, outputs[-indices:] if indices else outputs

    def forward_head(self, features: torch.Tensor, pre_logits: bool = False) -> torch.Tensor:
        """Pooled features [n, channels], or logits."""
        return features.mean((2, 3)) if pre_logits else self.head(features)

    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        """Names of layers by depth, as timm has it."""
        return {"stem": r"^blocks\.0\.", "blocks": [(r"^blocks\.(\d+)\.", None)]}


def _convolved(channels_in: int, channels: int) -> list[nn.Module]:
    return [nn.Conv2d(channels_in, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels), nn.ReLU(inplace=True)]


class SmallCNN(_Ours):
    """Three blocks of convolution, batch norm and pooling; two fully connected layers with dropout between them."""

    def __init__(self, classes: int, dropout: float) -> None:
        super().__init__()
        widths = (3, 32, 64, 128)
        self.blocks = nn.Sequential(*(nn.Sequential(*_convolved(a, b), nn.MaxPool2d(2)) for a, b in pairwise(widths)))
        self.head = nn.Sequential(
            nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(128 * 16, 256), nn.ReLU(inplace=True),
            nn.Dropout(dropout), nn.Linear(256, classes),
        )  # fmt: skip


class ImprovedCNN(_Ours):
    """Four blocks of two convolutions each, with batch norm and pooling; dropout twice in the fully connected part."""

    def __init__(self, classes: int, dropout: float) -> None:
        super().__init__()
        widths = (3, 32, 64, 128, 256)
        self.blocks = nn.Sequential(
            *(nn.Sequential(*_convolved(a, b), *_convolved(b, b), nn.MaxPool2d(2)) for a, b in pairwise(widths))
        )
        self.head = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(dropout), nn.Linear(256, 128), nn.BatchNorm1d(128),
            nn.ReLU(inplace=True), nn.Dropout(dropout / 2), nn.Linear(128, classes),
        )  # fmt: skip


OURS = {"small-cnn": SmallCNN, "improved-cnn": ImprovedCNN}


class FrozenFeatures(nn.Module):  # type: ignore[misc]
    """A frozen network's pooled features of several blocks, and a classical head on them; computed in float64.

    Features are standardised and, where `pca` is set, projected. A linear head gives coef @ features + intercept; a
    head with support vectors gives coef @ exp(-gamma |features - support|^2) + intercept.

    Args:
        backbone: The network.
        classes: How many.
        blocks, pooling, last_layer, window: Which features, see `features_of`.
        features: How many there are.
        pca: Principal components, 0: none.
        support: Support vectors, 0: the head is linear.
        views: In how many of a picture's symmetries `inference.py` averages its features; 0: it does not.
        more: Further networks.
        looks: Whose features follow the backbone's: `network` (0: the backbone, 1: the first of `more`), and
            `contrast`, `mean` and `std` as `as_seen_by` has them.
        mean, std: By which pictures come normalised: those of the backbone.
    """

    def __init__(
        self, backbone: nn.Module, classes: int, *, blocks: int, features: int, pca: int, support: int,
        pooling: str = "mean", last_layer: bool = True, window: float = 0.0, views: int = 0,
        more: Sequence[nn.Module] = (), looks: Sequence[dict[str, Any]] = (),
        mean: Sequence[float] = (0.0,) * 3, std: Sequence[float] = (1.0,) * 3,
    ) -> None:  # fmt: skip
        super().__init__()
        self.backbone, self.views = backbone, views
        self.more, self.looks, self.normalised = nn.ModuleList(more), tuple(looks), (tuple(mean), tuple(std))
        self.seen: dict[str, Any] = {"blocks": blocks, "pooling": pooling, "last_layer": last_layer, "window": window}
        seen = pca or features
        shapes = {
            "centre": (features,), "spread": (features,), "axes": (pca, features), "support": (support, seen),
            "gamma": (), "coef": (classes, support or seen), "intercept": (classes,),
        }  # fmt: skip
        for name, shape in shapes.items():
            self.register_buffer(name, torch.zeros(shape, dtype=torch.float64))

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        """Scores [n, classes] of pictures [n, 3, side, side]."""
        return self.scores(self.features(pictures))

    def features(self, pictures: torch.Tensor) -> torch.Tensor:
        """Features [n, features] of pictures [n, 3, side, side]."""
        parts = [features_of(self.backbone, pictures, **self.seen)]
        for look in self.looks:
            network = (self.backbone, *self.more)[look["network"]]
            parts.append(features_of(network, as_seen_by(look, pictures, *self.normalised), **self.seen))
        return torch.cat(parts, 1)

    def scores(self, features: torch.Tensor) -> torch.Tensor:
        """Scores [n, classes] of features [n, features]."""
        seen = (features.double() - self.centre) / self.spread
        if len(self.axes):
            seen = seen @ self.axes.T
        if len(self.support):
            apart = (seen**2).sum(1, keepdim=True) - 2 * seen @ self.support.T + (self.support**2).sum(1)
            seen = torch.exp(-self.gamma * apart.clamp(min=0))
        return seen @ self.coef.T + self.intercept


def features_of(
    network: nn.Module, pictures: torch.Tensor, blocks: int, pooling: str = "mean", last_layer: bool = True,
    window: float = 0.0,
) -> torch.Tensor:  # fmt: skip
    """Features [n, f] of pictures [n, 3, side, side].

    Args:
        network: Whose features they are.
        pictures: As the network wants them.
        blocks: Of so many of its last blocks; 0: of all.
        pooling: 'mean': of each channel its mean over the picture; 'deviation': how much it varies there;
            'mean+deviation': both.
        last_layer: Whether what its last layer sees follows.
        window: Standard deviation, as a share of the side, of the Gaussian about the middle by which places are weighed
            in the mean and the deviation; 0: all places count alike. What the last layer sees is never weighed.
    """
    final, outputs = network.forward_intermediates(pictures, indices=blocks or None)
    means, deviations = zip(*(_mean_and_deviation(output, window) for output in outputs), strict=True)
    pooled = [*(means if pooling != "deviation" else ()), *(deviations if pooling != "mean" else ())]
    if last_layer:
        pooled.append(network.forward_head(final, pre_logits=True))
    return torch.cat(pooled, 1)


def _mean_and_deviation(output: torch.Tensor, window: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and standard deviation [n, channels] of a block's output [n, channels, rows, columns]; see `features_of`."""
    if not window:
        return output.mean((2, 3)), output.std((2, 3), correction=0)
    sides = []
    for count in output.shape[2:]:
        places = (torch.arange(count, device=output.device, dtype=output.dtype) + 0.5) / count - 0.5
        sides.append(torch.softmax(-((places / window) ** 2) / 2, 0))  # a Gaussian whose sum is 1
    weights = sides[0][:, None] * sides[1]
    mean = (output * weights).sum((2, 3))
    variance = ((output - mean[:, :, None, None]) ** 2 * weights).sum((2, 3))
    return mean, variance.clamp(min=1e-12).sqrt()  # of nothing at all there is no gradient, which saliency asks for


def as_seen_by(
    look: dict[str, Any], pictures: torch.Tensor, mean: Sequence[float], std: Sequence[float]
) -> torch.Tensor:
    """Pictures [n, 3, side, side] that are normalised by `mean` and `std`, as another look wants them.

    Args:
        look: `mean`, `std`: by which it wants them; `contrast`: 'alike' brings each picture's values, in [0, 1], to the
            same mean and deviation first and cuts off what lies beyond; 'as-is' leaves them.
        pictures: RGB.
        mean, std: By which they are normalised, for R, G and B in [0, 1].
    """
    if look["contrast"] == "as-is" and (list(look["mean"]), list(look["std"])) == (list(mean), list(std)):
        return pictures
    of_channels = [pictures.new_tensor(values).view(1, 3, 1, 1) for values in (mean, std, look["mean"], look["std"])]
    values = pictures * of_channels[1] + of_channels[0]
    if look["contrast"] == "alike":
        middle, spread = values.mean((1, 2, 3), keepdim=True), values.std((1, 2, 3), correction=0, keepdim=True)
        values = ((values - middle) / spread.clamp(min=1 / 255) * ALIKE_DEVIATION + ALIKE_MEAN).clamp(0, 1)
    return (values - of_channels[2]) / of_channels[3]


def build_bare(model: str, classes: int, imgsz: int, dropout: float = 0.0, drop_path: float = 0.0) -> nn.Module:
    """A network with fresh weights.

    Args:
        model: One of ours, or a name of timm's.
        classes: Outputs.
        imgsz: Side of its pictures; only transformers ask.
        dropout, drop_path: While it is trained.
    """
    if model in OURS:
        return OURS[model](classes, dropout)
    import timm

    more = {"img_size": imgsz} if model.startswith("vit_") else {}
    network = timm.create_model(
        model, pretrained=False, num_classes=classes, drop_rate=dropout, drop_path_rate=drop_path, **more
    )
    last = network.get_classifier()
    # timm draws EfficientNet's last layer from +-1/sqrt(classes): of three classes logits of +-10, which say nothing
    # yet, and which a short training never quite unlearns. Near zero, all classes are as likely as each other.
    nn.init.normal_(last.weight, std=0.01)
    nn.init.zeros_(last.bias)
    return network


def build(spec: dict[str, Any]) -> nn.Module:
    """The network that a spec describes, with fresh weights."""
    classes, head = len(spec["classes"]), dict(spec["head"])
    network = build_bare(spec["model"], classes, spec["imgsz"], spec["dropout"], spec["drop_path"])
    if head.pop("kind") == "network":
        return network
    more = [build_bare(each["model"], classes, spec["imgsz"]) for each in head.pop("more", ())]
    return FrozenFeatures(network, classes, more=more, mean=spec["mean"], std=spec["std"], **head)


def write(path: Path, network: nn.Module, spec: dict[str, Any]) -> None:
    """Write a network as numbers and text alone; the same network gives the same bytes under the same name."""
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    torch.save({"spec": json.dumps({"format": FORMAT, **spec}, sort_keys=True), "state": state}, path)


def read(path: Path) -> tuple[nn.Module, dict[str, Any]]:
    """A network ready to predict, and its spec. Nothing in the file can run.

    Raises:
        ValueError: It was not written by `write`, or by a newer one.
    """
    content = torch.load(path, map_location="cpu", weights_only=True)
    if not isinstance(content, dict) or not isinstance(content.get("spec"), str):
        raise ValueError("not a classifier of Nightscope's")
    spec = json.loads(content["spec"])
    if spec.get("format") != FORMAT:
        raise ValueError(f"a classifier of format {spec.get('format')}, and we read {FORMAT}")
    network = build(spec)
    network.load_state_dict(content["state"])
    return network.eval(), spec
