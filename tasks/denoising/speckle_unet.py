"""A small U-Net that says how much of each grey level is speckle, its file of weights, and the one way to use it.

An encoder halves the picture, a decoder doubles it back, and skip connections hand the decoder what halving loses: the
edges (Ronneberger, Fischer, Brox, MICCAI 2015, arXiv 1505.04597). It learns the noise and not the picture (residual
learning: Zhang and others, IEEE Trans. Image Process. 26(7), 2017, arXiv 1608.03981), so that a network that has
learned nothing changes nothing.

A network is built from a **spec**, the JSON in the metadata of its safetensors file, in which nothing can run:

    format    1
    width     channels of the first level; each level below has twice as many
    levels    how often the picture is halved

`denoise` is the only function that puts a picture through it: before a training, in evaluation, and where a model is
served. This file stands alone: MLflow copies it beside the weights, and imports nothing of Nightscope.
"""

import json
from typing import Any

import numpy as np
import safetensors.torch
import torch
from torch import nn
from torch.nn import functional

FORMAT = 1
WIDTHS, LEVELS = (4, 128), (1, 4)
"""The least and the most."""
_LEAK = 0.1
"""Of what is negative: small networks with plain ReLU died at high rates, and only shifted the brightness."""


class SpeckleUNet(nn.Module):  # type: ignore[misc]
    """Grey levels in, grey levels without speckle out: float32 [b, 1, h, w], of about 0 to 1; sides of any length.

    Args:
        width: Channels of the first level.
        levels: How often the picture is halved.
    """

    def __init__(self, width: int = 16, levels: int = 2) -> None:
        super().__init__()
        widths = [width * 2**level for level in range(levels + 1)]
        self.down = nn.ModuleList(
            _block(before, after) for before, after in zip([1, *widths[:-1]], widths, strict=True)
        )
        self.up = nn.ModuleList(_block(3 * width_, width_) for width_ in reversed(widths[:-1]))
        self.last = nn.Conv2d(width, 1, 1)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        """Pictures without what it takes for speckle."""
        height, width = pictures.shape[-2:]
        side = 2 ** (len(self.down) - 1)
        padded = functional.pad(pictures, (0, -width % side, 0, -height % side), mode="replicate")
        maps = []
        found = padded
        for place, block in enumerate(self.down):
            found = block(found if not place else functional.max_pool2d(found, 2))
            maps.append(found)
        for block, beside in zip(self.up, reversed(maps[:-1]), strict=True):
            larger = functional.interpolate(found, scale_factor=2.0, mode="nearest")
            found = block(torch.cat([larger, beside], dim=1))
        return (padded - self.last(found))[..., :height, :width]


def _block(channels_in: int, channels: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels_in, channels, 3, 1, 1), nn.LeakyReLU(_LEAK, inplace=True),
        nn.Conv2d(channels, channels, 3, 1, 1), nn.LeakyReLU(_LEAK, inplace=True),
    )  # fmt: skip


def build(spec: dict[str, Any]) -> SpeckleUNet:
    """The network that a spec describes, with fresh weights.

    Raises:
        ValueError: It describes none; naming every fault.
    """
    faults = [
        f"{name}: expected a whole number from {least} to {most}, found {str(spec.get(name))[:50]!r}"
        for name, (least, most) in (("width", WIDTHS), ("levels", LEVELS))
        if type(spec.get(name)) is not int or not least <= spec[name] <= most
    ]
    if faults:
        raise ValueError("; ".join(faults))
    return SpeckleUNet(spec["width"], spec["levels"])


def written(network: nn.Module, spec: dict[str, Any]) -> bytes:
    """A network as a file of weights; the same network gives the same bytes."""
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in sorted(network.state_dict().items())}
    metadata = {"spec": json.dumps({"format": FORMAT, **spec}, sort_keys=True)}
    data: bytes = safetensors.torch.save(state, metadata=metadata)
    return data


def read(data: bytes) -> tuple[SpeckleUNet, dict[str, Any]]:
    """A network ready to use, on the CPU, and its spec. Nothing in the file can run.

    Raises:
        Exception: `written` did not write it, or a newer one; of bytes that anybody may have made, there is no list.
    """
    state = safetensors.torch.load(data)
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    spec = json.loads(header.get("__metadata__", {}).get("spec", "null"))
    if not isinstance(spec, dict) or spec.get("format") != FORMAT:
        raise ValueError("it has no spec of ours")
    network = build(spec)
    network.load_state_dict(state)
    return network.eval(), spec


def denoise(network: SpeckleUNet, image: Any) -> Any:
    """A picture without speckle, alone and on the CPU: the same picture gives the same, whatever stands beside it.

    Args:
        network: From `read`, or fresh from its training.
        image: uint8, grey [h, w], or [h, w, 3] with three equal channels; others lose their colour.

    Returns:
        As `image`.
    """
    grey = image if image.ndim == 2 else np.asarray(np.rint(image.mean(axis=2)), dtype=np.uint8)
    with torch.inference_mode():
        found = network(torch.from_numpy(np.ascontiguousarray(grey))[None, None].float() / 255)
    clean = np.asarray(np.rint(np.clip(found[0, 0].numpy(), 0, 1) * 255), dtype=np.uint8)
    return clean if image.ndim == 2 else np.repeat(clean[:, :, None], 3, axis=2)
