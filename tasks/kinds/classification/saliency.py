"""Where a classifier looks: Grad-CAM (Selvaraju et al. 2017, arXiv:1610.02391), by torchcam. For the report alone."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from tasks.kind import Image
from tasks.kinds.classification.predictor import LoadedClassifier


def heat(predictor: LoadedClassifier, image: Image, class_index: int) -> NDArray[np.float32] | None:
    """How much each place of a picture speaks for a class.

    Args:
        predictor: The classifier.
        image: BGR uint8 [height, width, 3].
        class_index: In the model's order of classes.

    Returns:
        float32 [height, width], 0 to 1: the most telling place has 1. None where nothing speaks for the class, or the
        network has no layer that still knows where things are.
    """
    import torch
    from torchcam.methods import GradCAM

    from tasks.kinds.classification.inference import as_input, squared, stacked

    network = _looking_once(predictor.network)
    layer, reshape = _layer(network)
    if layer is None:
        return None
    spec = predictor.spec
    square = squared(np.ascontiguousarray(image[:, :, ::-1]), spec["imgsz"], spec["fit"])
    with torch.enable_grad(), GradCAM(network, layer, reshape_transform=reshape) as cam:
        pictures = as_input(stacked([square]).to(predictor.device), spec).requires_grad_(True)
        (found,) = cam(class_index, network(pictures))
    coarse = found.squeeze(0).float().cpu().numpy()
    if not np.isfinite(coarse).all() or not coarse.any():
        return None
    return _in_picture(coarse, image.shape[0], image.shape[1], spec)


def _looking_once(network: Any) -> Any:
    """The network, whose backbone looks once: where it looks again, a copy of it does, or its two looks would mix."""
    if all(look["network"] for look in getattr(network, "looks", ())):
        return network
    apart = copy.deepcopy(network)
    apart.more.append(copy.deepcopy(apart.backbone))
    last = len(apart.more)
    apart.looks = tuple({**look, "network": look["network"] or last} for look in network.looks)
    return apart


def _layer(network: Any) -> tuple[Any, Callable[[Any], Any] | None]:
    """The last layer that still knows where things are, and how its output becomes [n, channels, rows, columns]."""
    ends_early = not getattr(network, "seen", {}).get("last_layer", True)
    network = getattr(network, "backbone", network)
    if hasattr(network, "patch_embed"):
        rows, columns = network.patch_embed.grid_size
        tokens = network.num_prefix_tokens
        return network.blocks[-1].norm1, lambda out: out[:, tokens:].transpose(1, 2).unflatten(2, (rows, columns))
    if hasattr(network, "conv_head") and not ends_early:  # else nothing comes of it
        return network.bn2, None  # its norm and activation: before them a value may be negative where much is seen
    found = [getattr(network, name)[-1] for name in ("blocks", "stages", "layer4") if hasattr(network, name)]
    return (found[0] if found else None), None


def _in_picture(coarse: NDArray[np.float32], height: int, width: int, spec: dict[str, Any]) -> NDArray[np.float32]:
    """A map of the network's square as one of the picture."""
    from tasks.kinds.classification.inference import place_of

    side = spec["imgsz"]
    place = place_of(height, width, side, spec["fit"])
    enlarged = cv2.resize(coarse, (side, side), interpolation=cv2.INTER_LINEAR)
    framed = np.zeros((max(side, place.height), max(side, place.width)), np.float32)
    top, left = max(0, -place.top), max(0, -place.left)  # what `crop` cut off nobody looked at
    framed[top : top + side, left : left + side] = enlarged
    top, left = max(0, place.top), max(0, place.left)
    shown = framed[top : top + place.height, left : left + place.width]
    found = np.clip(cv2.resize(shown, (width, height), interpolation=cv2.INTER_LINEAR), 0, None)
    return np.asarray(found / max(float(found.max()), 1e-12), dtype=np.float32)
