"""Putting weights into a classifier; how they are read without running anything is `tasks/training/tensors.py`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tasks.errors import DataError
from tasks.schemas import Oid
from tasks.training.tensors import by_order, known_weights, load_network, read_tensors

_COUNTED = "num_batches_tracked"
"""Counts nothing that a network needs; older files, and some writers, leave it out."""


def load_classifier(path: Path, name: str = "") -> tuple[Any, dict[str, Any]]:
    """A classifier and its spec, see `tensors.load_network`."""
    from tasks.kinds.classification import networks

    return load_network(networks.read, path, name, "a classifier")


def start_from(network: Any, weights: Path, oid: Oid, model: str, classes: int) -> None:
    """Put weights into a fresh network; its last layer keeps its own where the weights are of other classes.

    Args:
        network: Of the model, with so many classes.
        weights: The file.
        oid: Its sha256: tells those that are installed with us.
        model, classes: For messages, and for what the weights are compared with.

    Raises:
        DataError: They are of another model, or cannot be loaded.
    """
    tensors = read_tensors(weights)
    ours = network.state_dict()
    if known := known_weights(oid):
        tensors = by_order(ours, tensors, known, weights.name)
    head = {name for name in ours if _belongs_to_head(network, name)}
    fitting = {name: tensor for name, tensor in tensors.items() if name in ours and tensor.shape == ours[name].shape}
    lacking = [name for name in ours if name not in fitting and name not in head and not name.endswith(_COUNTED)]
    foreign = [name for name in tensors if name not in ours]
    if lacking:
        raise DataError(
            f"weights {weights.name}: are not those of {model} with {classes} classes",
            expected=f"the tensor {lacking[0]} {tuple(ours[lacking[0]].shape)}, and {len(ours) - len(head) - 1} more",
            found=f"{len(fitting)} that fit, and {len(foreign)} of other names"
            + (f" ({foreign[0]})" if foreign else ""),
            fix="set `model` to what the weights are of, or name other weights",
        )
    whole_head = head <= fitting.keys()
    network.load_state_dict(
        {**ours, **{name: tensor for name, tensor in fitting.items() if whole_head or name not in head}}
    )


def _belongs_to_head(network: Any, name: str) -> bool:
    last = network.get_classifier()
    prefixes = [prefix for prefix, module in network.named_modules() if module is last]
    return any(name.startswith(f"{prefix}.") for prefix in prefixes)
