"""What a network starts from: an encoder's weights from elsewhere, or all of a segmenter of ours. For the worker."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tasks.errors import DataError
from tasks.schemas import Oid
from tasks.training.tensors import by_order, known_weights, read_tensors

_COUNTED = "num_batches_tracked"
"""Counts nothing that a network needs; older files, and some writers, leave it out."""
_PREFIXES = ("", "vision_encoder.", "model.vision_encoder.")
"""How SAM's files call the part that we take: its own model, and all of SAM's."""


def start_from(network: Any, weights: Path, oid: Oid, encoder: str) -> None:
    """Put weights into a fresh network: those of a segmenter of ours, else those of its encoder.

    Of a segmenter with other classes what depends on them is left as it is.

    Args:
        network: Of the plan.
        weights: The file.
        oid: Its sha256: tells those that are installed with us.
        encoder: Its name.

    Raises:
        DataError: They are of something else, or cannot be loaded.
    """
    tensors = read_tensors(weights)
    if known := known_weights(oid):
        import timm

        named = by_order(timm.create_model(known.model, pretrained=False).state_dict(), tensors, known, weights.name)
        _put(network.encoder.pretrained(), named, weights.name, encoder)
    elif any(name.startswith("encoder.") for name in tensors):
        _put_all(network, tensors, weights.name, encoder)
    elif encoder == "sam-vit":
        _put(network.encoder.pretrained(), _of_sam(tensors), weights.name, encoder)
    else:
        _put(network.encoder.pretrained(), tensors, weights.name, encoder)


def _put(part: Any, tensors: Mapping[str, Any], name: str, encoder: str) -> None:
    ours = part.state_dict()
    fitting = {key: value for key, value in tensors.items() if key in ours and value.shape == ours[key].shape}
    lacking = [key for key in ours if key not in fitting and not key.endswith(_COUNTED)]
    if lacking:
        raise DataError(
            f"weights {name}: are not those of the encoder {encoder}",
            expected=f"the tensor {lacking[0]} {tuple(ours[lacking[0]].shape)}, and {len(ours) - 1} more",
            found=f"{len(fitting)} that fit, of {len(tensors)}",
            fix="set `encoder` to what the weights are of, or name other weights",
        )
    part.load_state_dict({**ours, **fitting})


def _put_all(network: Any, tensors: Mapping[str, Any], name: str, encoder: str) -> None:
    """Weights of a segmenter: what has another shape depends on classes, unless it is the encoder's."""
    ours = network.state_dict()
    fitting = {key: value for key, value in tensors.items() if key in ours and value.shape == ours[key].shape}
    lacking = [key for key in ours if key.startswith("encoder.") and key not in fitting]
    if lacking:
        raise DataError(
            f"weights {name}: are of a segmenter with another encoder",
            expected=f"{encoder}, whose {lacking[0]} is {tuple(ours[lacking[0]].shape)}",
            found=f"{len(fitting)} of {len(ours)} tensors that fit",
            fix="set `encoder` and `width` to what the weights are of",
        )
    network.load_state_dict({**ours, **fitting})


def _of_sam(tensors: Mapping[str, Any]) -> dict[str, Any]:
    """The vision encoder's tensors, under the names of transformers' SamVisionModel."""
    for prefix in reversed(_PREFIXES):
        own = {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}
        if prefix and own:
            return {f"vision_encoder.{key}": value for key, value in own.items()}
    return dict(tensors)
