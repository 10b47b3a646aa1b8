"""Networks in files: numbers and plain text, nothing that could run.

A network is built from a **spec**, the JSON that stands in its file of weights:

    format          1
    model           two-stage or star-convex
    encoder         tf_efficientnet_lite0, sam-vit or tiny
    encoder_sizes   of sam-vit, see `encoders.build_encoder`; else null
    width           channels of the pyramid
    classes         names, in the order of the outputs
    input           an `InputPlan`: how pictures are prepared
    min_score       cells that score lower are left out: chosen on the validation split
"""

import importlib
import json
from pathlib import Path
from typing import Any

import torch
from torch import nn

from tasks.kinds.segmentation.networks.encoders import build_encoder
from tasks.kinds.segmentation.networks.star_convex import StarConvex
from tasks.kinds.segmentation.networks.two_stage import TwoStage

FORMAT = 1
MODELS = {"two-stage": TwoStage, "star-convex": StarConvex}
FOREIGN = {"yolo-seg": "yolo_seg", "cellpose": "cellpose_sam"}
"""Models of other hands, by the module beside this one that builds them."""
_NEEDED = {
    "model": str, "encoder": str, "width": int, "classes": list, "input": dict, "min_score": int | float,
}  # fmt: skip


def build(spec: dict[str, Any]) -> nn.Module:
    """The network that a spec describes, with fresh weights.

    Raises:
        ValueError: It describes none; naming every fault.
    """
    if foreign := FOREIGN.get(str(spec.get("model"))):
        built: nn.Module = importlib.import_module(f"{__package__}.{foreign}").build(spec)
        return built
    faults = [f"{key} is missing or no {kind}" for key, kind in _NEEDED.items() if not isinstance(spec.get(key), kind)]
    if spec.get("model") not in MODELS:
        faults.append(f"model {spec.get('model')!r} is none of {', '.join(MODELS)}")
    if not faults and not 8 <= spec["width"] <= 1024:
        faults.append(f"width {spec['width']} is not from 8 to 1024")
    if faults:
        raise ValueError(f"not the spec of a segmenter: {'; '.join(faults)}")
    encoder = build_encoder(spec["encoder"], spec["width"], spec.get("encoder_sizes"))
    return MODELS[spec["model"]](encoder, spec["width"], len(spec["classes"]))


def write(path: Path, network: nn.Module, spec: dict[str, Any]) -> None:
    """Write a network; the same network gives the same bytes under the same name."""
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    torch.save({"spec": json.dumps({"format": FORMAT, **spec}, sort_keys=True), "state": state}, path)


def read(path: Path) -> tuple[nn.Module, dict[str, Any]]:
    """A network ready to predict, and its spec. Nothing in the file can run.

    Raises:
        ValueError: It was not written by `write`, or by a newer one.
    """
    content = torch.load(path, map_location="cpu", weights_only=True)
    if not isinstance(content, dict) or not isinstance(content.get("spec"), str):
        raise ValueError("not a segmenter of Nightscope's")
    spec = json.loads(content["spec"])
    if not isinstance(spec, dict) or spec.get("format") != FORMAT:
        found = spec.get("format") if isinstance(spec, dict) else None
        raise ValueError(f"a segmenter of format {found}, and we read {FORMAT}")
    network = build(spec)
    network.load_state_dict(content["state"])
    return network.eval(), spec
