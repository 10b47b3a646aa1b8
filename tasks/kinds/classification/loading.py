"""Reading weights without running anything that they hold, and putting them into a network.

A .pt is a pickle, and a pickle is a program: torch's `weights_only` builds nothing but tensors and plain values. It is
asked for at every load, and switched on for the process, whatever the environment says.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tasks.errors import DataError
from tasks.kinds.classification.installed import INSTALLED, Installed
from tasks.schemas import Oid

_ZIP, _PICKLE = b"PK", b"\x80"
"""How files of torch begin, new and old; safetensors begin with a length."""
_COUNTED = "num_batches_tracked"
"""Counts nothing that a network needs; older files, and some writers, leave it out."""


def harmless() -> None:
    """Have this process load nothing that could run, even where somebody asks for the contrary."""
    os.environ["TORCH_FORCE_WEIGHTS_ONLY_LOAD"] = "1"
    os.environ.pop("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", None)


def load_classifier(path: Path, name: str = "") -> tuple[Any, dict[str, Any]]:
    """A network that a training of ours wrote, ready to predict, and its spec.

    Args:
        path: Local file; it needs no suffix.
        name: For messages.

    Raises:
        DataError: It is no such file, is damaged, or holds what is no part of a model.
    """
    from tasks.kinds.classification import networks

    harmless()
    try:
        return networks.read(path)
    except MemoryError:
        raise
    except Exception as error:  # of bytes that anybody may have made: there is no list of what they can raise
        raise _refused(name or path.name, error) from error


def read_tensors(path: Path) -> dict[str, Any]:
    """The tensors of a file of weights: torch's or safetensors', a network's state alone or under 'state', 'model' ...

    Raises:
        DataError: It is neither, is damaged, or holds more than tensors and plain values.
    """
    harmless()
    import torch

    try:
        with path.open("rb") as file:
            start = file.read(9)
        torchs = start.startswith((_ZIP, _PICKLE)) and not _is_safetensors(start, path.stat().st_size)
        if torchs:
            content = torch.load(path, map_location="cpu", weights_only=True)
        else:
            from safetensors.torch import load_file

            content = load_file(path)
    except MemoryError:
        raise
    except Exception as error:
        raise _refused(path.name, error) from error
    for name in ("state", "state_dict", "model", "model_state_dict"):
        if isinstance(content, Mapping) and isinstance(content.get(name), Mapping):
            content = content[name]
    tensors = dict(content) if isinstance(content, Mapping) else {}
    if not tensors or not all(isinstance(key, str) and torch.is_tensor(value) for key, value in tensors.items()):
        raise DataError(f"weights {path.name}", expected="tensors by name", found=type(content).__name__)
    return {name.removeprefix("module."): tensor for name, tensor in tensors.items()}


def _is_safetensors(start: bytes, size: int) -> bool:
    """Whether a file of this size begins with a header and its length, which may look like a pickle."""
    return start[8:9] == b"{" and int.from_bytes(start[:8], "little") + 8 <= size


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
    if known := _installed(oid):
        tensors = _by_order(ours, tensors, known, weights.name)
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


def _installed(oid: Oid) -> Installed | None:
    return next((known for known in INSTALLED.values() if known.oid == oid), None)


def _by_order(ours: Mapping[str, Any], theirs: Mapping[str, Any], known: Installed, name: str) -> dict[str, Any]:
    """Weights under timm's names: their file has others, in the same order. Only the last layer's shape may differ."""
    renamed = dict(zip(ours, theirs.values(), strict=False))
    unlike = [key for key, tensor in renamed.items() if tensor.shape != ours[key].shape and "classifier" not in key]
    if len(ours) != len(theirs) or unlike:
        raise DataError(f"weights {name}", expected=f"those of {known.model}", found=f"{len(theirs)} tensors, others")
    return renamed


def _belongs_to_head(network: Any, name: str) -> bool:
    last = network.get_classifier()
    prefixes = [prefix for prefix, module in network.named_modules() if module is last]
    return any(name.startswith(f"{prefix}.") for prefix in prefixes)


def _refused(name: str, error: Exception) -> DataError:
    return DataError(
        f"weights {name} cannot be loaded",
        expected="weights of a classifier and nothing else: what else they hold would be run",
        found=" ".join(str(error).split())[:300] or type(error).__name__,
        fix="take weights that a training of ours made, or those of a network of timm's",
    )
