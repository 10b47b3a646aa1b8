"""RetinaNet (Lin and others, ICCV 2017, arXiv 1708.02002) as torchvision has it, with anchors that fit the boxes.

A network is built from a **spec**, the JSON that stands in the metadata of its file of weights (safetensors: numbers
and text, nothing that could run):

    format      1
    backbone    tf_efficientnet_lite0 or tiny
    width       channels of the pyramid
    anchors     width and height in pixels of the scaled picture: those of level P3, then as many of P4 and of P5
    classes     names, in the order of the outputs
    imgsz       side that pictures are scaled to

The file may also carry a denoiser: the bytes of its own file as a tensor `denoiser`, uint8 [n].

This file stands alone: MLflow copies it beside the weights, and imports nothing of Nightscope.
"""

import json
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn
from torchvision.models.detection import RetinaNet
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.retinanet import RetinaNetHead
from torchvision.ops import FeaturePyramidNetwork

FORMAT = 1
LEVELS = 3
"""P3, P4 and P5, of strides 8, 16 and 32."""
DENOISER = "denoiser"
BACKBONES = ("tf_efficientnet_lite0", "tiny")
_MEAN, _STD = [127 / 255] * 3, [128 / 255] * 3
"""What the authors' EfficientNet-Lite was trained with."""
_GROUPS = 8
_MOST_ANCHORS = 9


class Backbone(nn.Module):  # type: ignore[misc]
    """Features of strides 8, 16 and 32, and a pyramid on them."""

    def __init__(self, name: str, width: int) -> None:
        super().__init__()
        if name == "tiny":
            self.body: nn.Module = _Tiny()
            channels = list(_Tiny.CHANNELS[2:])
        else:
            import timm

            self.body = timm.create_model(name, features_only=True, out_indices=(2, 3, 4), pretrained=False)
            channels = self.body.feature_info.channels()
        self.pyramid = FeaturePyramidNetwork(channels, width)
        self.out_channels = width

    def forward(self, pictures: torch.Tensor) -> dict[str, torch.Tensor]:
        """Maps by level, finest first."""
        maps: dict[str, torch.Tensor] = self.pyramid(
            OrderedDict((f"P{level}", each) for level, each in enumerate(self.body(pictures), 3))
        )
        return maps


class _Tiny(nn.Module):  # type: ignore[misc]
    """Five convolutions of stride 2: for tests."""

    CHANNELS = (8, 16, 24, 32, 32)

    def __init__(self) -> None:
        super().__init__()
        before = (3, *self.CHANNELS[:-1])
        self.layers = nn.ModuleList(
            nn.Sequential(nn.Conv2d(a, b, 3, 2, 1, bias=False), nn.BatchNorm2d(b), nn.ReLU(inplace=True))
            for a, b in zip(before, self.CHANNELS, strict=True)
        )

    def forward(self, pictures: torch.Tensor) -> list[torch.Tensor]:
        maps = []
        for layer in self.layers:
            pictures = layer(pictures)
            maps.append(pictures)
        return maps[2:]


class FittedAnchors(AnchorGenerator):  # type: ignore[misc]
    """Anchors of any width and height, as many on each level."""

    def __init__(self, sizes: Sequence[Sequence[float]]) -> None:
        each = len(sizes) // LEVELS
        super().__init__(((1.0,) * each,) * LEVELS, ((1.0,),) * LEVELS)
        boxes = torch.tensor([[-w / 2, -h / 2, w / 2, h / 2] for w, h in sizes], dtype=torch.float32)
        self.cell_anchors = list(boxes.view(LEVELS, each, 4))


def build(spec: dict[str, Any]) -> RetinaNet:
    """The network that a spec describes, with fresh weights.

    Raises:
        ValueError: It describes none; naming every fault.
    """
    faults = []
    if spec.get("backbone") not in BACKBONES:
        faults.append(f"backbone {str(spec.get('backbone'))[:50]!r} is none of {', '.join(BACKBONES)}")
    width, anchors, classes = spec.get("width"), spec.get("anchors"), spec.get("classes")
    if type(width) is not int or not 16 <= width <= 512 or width % _GROUPS:
        faults.append(f"width {str(width)[:50]} is not from 16 to 512 in steps of {_GROUPS}")
    if not isinstance(anchors, list) or not _are_sizes(anchors):
        faults.append(f"anchors are not width and height, as many for each of {LEVELS} levels")
    if not isinstance(classes, list) or not 1 <= len(classes) <= 1000:
        faults.append("classes are not a list of names")
    if type(spec.get("imgsz")) is not int or not 32 <= spec["imgsz"] <= 4096:
        faults.append(f"imgsz {str(spec.get('imgsz'))[:50]} is not from 32 to 4096")
    if faults:
        raise ValueError(f"not the spec of a RetinaNet: {'; '.join(faults)}")
    generator = FittedAnchors(spec["anchors"])
    head = RetinaNetHead(
        spec["width"], len(spec["anchors"]) // LEVELS, len(spec["classes"]),
        norm_layer=lambda channels: nn.GroupNorm(_GROUPS, channels),
    )  # fmt: skip
    return RetinaNet(
        Backbone(spec["backbone"], spec["width"]), len(spec["classes"]), anchor_generator=generator, head=head,
        min_size=spec["imgsz"], max_size=spec["imgsz"], image_mean=_MEAN, image_std=_STD,
    )  # fmt: skip


def _are_sizes(anchors: list[Any]) -> bool:
    pairs = all(
        isinstance(each, list)
        and len(each) == 2
        and all(isinstance(side, int | float) and 0 < side <= 8192 for side in each)
        for each in anchors
    )
    return pairs and len(anchors) % LEVELS == 0 and LEVELS <= len(anchors) <= LEVELS * _MOST_ANCHORS


def write(
    path: Path, network: nn.Module, spec: dict[str, Any], carrying: dict[str, torch.Tensor] | None = None
) -> None:
    """Write a network, and what it carries beside its own tensors; the same network gives the same bytes."""
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in sorted(network.state_dict().items())}
    save_file(
        {**state, **(carrying or {})}, path, metadata={"spec": json.dumps({"format": FORMAT, **spec}, sort_keys=True)}
    )


def read(path: Path) -> tuple[RetinaNet, dict[str, Any]]:
    """A network ready to predict, and its spec. Nothing in the file can run.

    Raises:
        ValueError: It was not written by `write`, or by a newer one.
    """
    with safe_open(path, framework="pt") as file:
        spec = json.loads((file.metadata() or {}).get("spec", "null"))
        state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no dict
    if not isinstance(spec, dict) or spec.get("format") != FORMAT:
        raise ValueError(f"not a RetinaNet of Nightscope's, of format {FORMAT}")
    network = build(spec)
    state.pop(DENOISER, None)
    network.load_state_dict(state)
    return network.eval(), spec


def carried(path: Path) -> torch.Tensor | None:
    """The denoiser's file in a file of weights, uint8 [n]; None: it carries none."""
    with safe_open(path, framework="pt") as file:
        return file.get_tensor(DENOISER) if DENOISER in set(file.keys()) else None


def find(
    network: RetinaNet, images: Sequence[Any], imgsz: int, conf: float, *, iou: float, max_det: int, device: str = "cpu"
) -> list[Any]:
    """One look at each image. A place is of the class that it is surest of: torchvision names all that score enough.

    Args:
        network: From `read`, on `device`.
        images: BGR, uint8, [height, width, 3] each.
        imgsz: Side that the longest side is scaled to.
        conf: Boxes that score lower are left out.
        iou: Overlap above which the weaker of two boxes of one class is dropped.
        max_det: Boxes per image at most.

    Returns:
        Per image float32 [n, 6]: x1, y1, x2, y2 in the image's pixels, score, class index; best score first.
    """
    classes = int(network.head.classification_head.num_classes)
    network.score_thresh, network.nms_thresh, network.detections_per_img = conf, iou, max_det * classes
    network.transform.min_size, network.transform.max_size = (imgsz,), imgsz
    found = []
    with torch.inference_mode():
        for image in images:  # one by one: padding beside others would give other numbers
            picture = (
                torch.from_numpy(np.ascontiguousarray(image[:, :, ::-1])).to(device).permute(2, 0, 1).float() / 255
            )
            (each,) = network([picture])
            boxes = torch.cat([each["boxes"], each["scores"][:, None], each["labels"][:, None].float()], dim=1)
            found.append(_of_one_class(boxes.cpu().numpy())[:max_det])
    return found


def _of_one_class(boxes: Any) -> Any:
    """Boxes [n, 6], best score first; of those of the same place, whose four numbers are equal, the best alone."""
    boxes = boxes[np.argsort(-boxes[:, 4], kind="stable")]
    _, first = np.unique(boxes[:, :4], axis=0, return_index=True)
    return boxes[np.sort(first)]
