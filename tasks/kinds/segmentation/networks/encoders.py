"""Encoders that both stages share: a picture becomes a pyramid of features.

Every encoder gives a dict of maps [b, channels, h, w] by stride: 2 (fine detail), 4, 8, 16; all of 4 and more have the
pyramid's width (Lin et al. 2017, arXiv:1612.03144).
"""

from collections import OrderedDict
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from torchvision.ops import FeaturePyramidNetwork

DETAIL = 8
"""Channels of the map of stride 2."""
STRIDES = (4, 8, 16)
NAMES = ("tf_efficientnet_lite0", "sam-vit", "tiny")
IMAGENET_HALF = ([127 / 255] * 3, [128 / 255] * 3)
"""What the authors' EfficientNet-Lite was trained with."""
SAM_BASE = {
    "hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "mlp_dim": 3072, "image_size": 1024,
    "patch_size": 16, "output_channels": 256, "window_size": 14, "global_attn_indexes": [2, 5, 8, 11],
}  # fmt: skip
"""The vision encoder of sam-vit-base (Kirillov et al. 2023, arXiv:2304.02643), as transformers' SamVisionConfig."""
_SAM_HUGE = {
    "hidden_size": 1280, "num_hidden_layers": 32, "num_attention_heads": 16, "mlp_dim": 5120, "image_size": 1024,
    "patch_size": 16, "output_channels": 256, "window_size": 14,
}  # fmt: skip
"""The largest of SAM's: no file of weights may ask for more."""


def convolved(channels_in: int, channels: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    """Convolution of 3 x 3, batch norm, ReLU."""
    return nn.Sequential(
        nn.Conv2d(channels_in, channels, 3, stride, 1, groups=groups, bias=False),
        nn.BatchNorm2d(channels),
        nn.ReLU(inplace=True),
    )


class Normalised(nn.Module):  # type: ignore[misc]
    """Subtracts the mean from, and divides by the deviation, R, G and B of pictures in about [0, 1]."""

    def __init__(self, mean: list[float], std: list[float]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1), persistent=False)

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        """Pictures [b, 3, h, w]."""
        return (pictures - self.mean) / self.std


class Pyramid(nn.Module):  # type: ignore[misc]
    """A backbone of timm's kind (maps of strides 2 to 32) and a feature pyramid on it."""

    def __init__(self, backbone: nn.Module, channels: list[int], width: int, mean: Any, std: Any) -> None:
        super().__init__()
        self.normalised = Normalised(mean, std)
        self.backbone = backbone
        self.detail = nn.Conv2d(channels[0], DETAIL, 1)
        self.pyramid = FeaturePyramidNetwork(channels[1:], width)

    def forward(self, pictures: torch.Tensor) -> dict[int, torch.Tensor]:
        """Maps by stride of pictures [b, 3, h, w] in about [0, 1]; h and w multiples of 32."""
        fine, *coarse = self.backbone(self.normalised(pictures))
        maps = self.pyramid(OrderedDict((str(place), each) for place, each in enumerate(coarse)))
        return {2: self.detail(fine), **{stride: maps[str(place)] for place, stride in enumerate(STRIDES)}}

    def pretrained(self) -> nn.Module:
        """The part that weights from elsewhere are for."""
        return self.backbone


class TinyBackbone(nn.Module):  # type: ignore[misc]
    """Five convolutions of stride 2: for tests."""

    CHANNELS = (8, 12, 16, 24, 32)

    def __init__(self) -> None:
        super().__init__()
        before = (3, *self.CHANNELS[:-1])
        self.layers = nn.ModuleList(convolved(a, b, 2) for a, b in zip(before, self.CHANNELS, strict=True))

    def forward(self, pictures: torch.Tensor) -> list[torch.Tensor]:
        """Maps of strides 2 to 32."""
        maps = []
        for layer in self.layers:
            pictures = layer(pictures)
            maps.append(pictures)
        return maps


class SamEncoder(nn.Module):  # type: ignore[misc]
    """SAM's vision transformer, and a neck from its one map of stride 16 to the pyramid (Li et al. 2022, ViTDet).

    Its position embedding is resized to the tile, so that tiles need not be of 1024 px.
    """

    def __init__(self, width: int, sizes: dict[str, Any]) -> None:
        super().__init__()
        from transformers import SamVisionConfig, SamVisionModel

        self.normalised = Normalised([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
        _check_sizes(sizes)
        self.backbone = SamVisionModel(SamVisionConfig(**sizes))
        channels = sizes["output_channels"]
        self.detail = convolved(3, DETAIL, 2)
        self.to_4 = nn.Sequential(
            nn.ConvTranspose2d(channels, width, 2, 2), nn.BatchNorm2d(width), nn.ReLU(inplace=True),
            nn.ConvTranspose2d(width, width, 2, 2), convolved(width, width),
        )  # fmt: skip
        self.to_8 = nn.Sequential(nn.ConvTranspose2d(channels, width, 2, 2), convolved(width, width))
        self.to_16 = convolved(channels, width)

    def forward(self, pictures: torch.Tensor) -> dict[int, torch.Tensor]:
        """As `Pyramid.forward`."""
        seen = self.normalised(pictures)
        map_16 = self._transformed(seen)
        return {2: self.detail(seen), 4: self.to_4(map_16), 8: self.to_8(map_16), 16: self.to_16(map_16)}

    def pretrained(self) -> nn.Module:
        """The transformer."""
        return self.backbone

    def _transformed(self, seen: torch.Tensor) -> torch.Tensor:
        """The transformer's map [b, channels, h / 16, w / 16], of pictures of any size."""
        vision = self.backbone.vision_encoder
        hidden = vision.patch_embed.projection(seen).permute(0, 2, 3, 1)
        if vision.pos_embed is not None:
            places = vision.pos_embed.permute(0, 3, 1, 2)
            places = functional.interpolate(places, hidden.shape[1:3], mode="bicubic", align_corners=False)
            hidden = hidden + places.permute(0, 2, 3, 1)
        for layer in vision.layers:
            hidden = layer(hidden)
            hidden = hidden[0] if isinstance(hidden, tuple) else hidden
        out: torch.Tensor = vision.neck(hidden)
        return out


def _check_sizes(sizes: Any) -> None:
    """Refuse sizes that no SAM has: they come from a file, and decide how much memory is taken.

    Raises:
        ValueError: Naming every fault.
    """
    if not isinstance(sizes, dict) or sizes.keys() != SAM_BASE.keys():
        found = sorted(map(str, sizes)) if isinstance(sizes, dict) else type(sizes).__name__
        raise ValueError(f"encoder_sizes: expected {', '.join(sorted(SAM_BASE))}, found {str(found)[:300]}")
    faults = [
        f"{key}: expected a whole number from 1 to {most}, found {str(sizes[key])[:50]!r}"
        for key, most in _SAM_HUGE.items()
        if type(sizes[key]) is not int or not 1 <= sizes[key] <= most
    ]
    if not faults:
        faults = list(_faults_together(sizes))
    if faults:
        raise ValueError(f"encoder_sizes: {'; '.join(faults)}")


def _faults_together(sizes: dict[str, Any]) -> Iterator[str]:
    layers, whole = sizes["num_hidden_layers"], sizes["global_attn_indexes"]
    if not isinstance(whole, list) or any(type(place) is not int or not 0 <= place < layers for place in whole):
        yield f"global_attn_indexes: expected places from 0 to {layers - 1}, found {str(whole)[:50]!r}"
    if sizes["patch_size"] != 16 or sizes["image_size"] % 16:
        yield "patch_size: expected 16, and image_size a multiple of it"
    if sizes["hidden_size"] % sizes["num_attention_heads"]:
        yield "hidden_size: expected a multiple of num_attention_heads"


def build_encoder(name: str, width: int, sizes: dict[str, Any] | None = None) -> nn.Module:
    """An encoder with fresh weights.

    Args:
        name: tf_efficientnet_lite0, sam-vit or tiny.
        width: Channels of its pyramid.
        sizes: Of sam-vit, for SamVisionConfig; None: sam-vit-base.

    Raises:
        ValueError: The sizes are none of a SAM's, or the name is none of these. Both may come from a file, and timm
            takes names of places to download from.
    """
    if name not in NAMES:
        raise ValueError(f"encoder {name!r} is none of {', '.join(NAMES)}")
    if name == "sam-vit":
        return SamEncoder(width, sizes or SAM_BASE)
    if name == "tiny":
        return Pyramid(TinyBackbone(), list(TinyBackbone.CHANNELS), width, [0.0] * 3, [1.0] * 3)
    import timm

    backbone = timm.create_model(name, features_only=True, pretrained=False)
    return Pyramid(backbone, backbone.feature_info.channels(), width, *IMAGENET_HALF)
