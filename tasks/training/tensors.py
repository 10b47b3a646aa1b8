"""Reading weights without running anything that they hold.

A .pt is a pickle, and a pickle is a program: torch's `weights_only` builds nothing but tensors and plain values. It is
asked for at every load, and switched on for the process, whatever the environment says.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tasks.errors import DataError
from tasks.schemas import Oid
from tasks.training.installed import INSTALLED, Installed

_ZIP, _PICKLE = b"PK", b"\x80"
"""How files of torch begin, new and old; safetensors begin with a length."""


def harmless() -> None:
    """Have this process load nothing that could run, even where somebody asks for the contrary."""
    os.environ["TORCH_FORCE_WEIGHTS_ONLY_LOAD"] = "1"
    os.environ.pop("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", None)


def load_network(
    read: Callable[[Path], tuple[Any, dict[str, Any]]], path: Path, name: str, of: str
) -> tuple[Any, dict[str, Any]]:
    """A network that a training of ours wrote, ready to predict, and its spec.

    Args:
        read: Reads it; it runs nothing of what the file holds.
        path: Local file; it needs no suffix.
        name: For messages; empty: the file's.
        of: What it is, for messages: 'a classifier'.

    Raises:
        DataError: It is no such file, is damaged, or holds what is no part of a model.
    """
    harmless()
    try:
        return read(path)
    except MemoryError:
        raise
    except Exception as error:  # of bytes that anybody may have made: there is no list of what they can raise
        raise refused(name or path.name, error, of) from error


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
        raise refused(path.name, error) from error
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


def known_weights(oid: Oid) -> Installed | None:
    """The installed weights of that hash; None: they are others."""
    return next((known for known in INSTALLED.values() if known.oid == oid), None)


def by_order(ours: Mapping[str, Any], theirs: Mapping[str, Any], known: Installed, name: str) -> dict[str, Any]:
    """Weights under timm's names: their file has others, in the same order. Only the last layer's shape may differ."""
    renamed = dict(zip(ours, theirs.values(), strict=False))
    unlike = [key for key, tensor in renamed.items() if tensor.shape != ours[key].shape and "classifier" not in key]
    if len(ours) != len(theirs) or unlike:
        raise DataError(f"weights {name}", expected=f"those of {known.model}", found=f"{len(theirs)} tensors, others")
    return renamed


def refused(name: str, error: Exception, of: str = "a network") -> DataError:
    """What is raised of weights that cannot be loaded."""
    return DataError(
        f"weights {name} cannot be loaded",
        expected=f"weights of {of} and nothing else: what else they hold would be run",
        found=" ".join(str(error).split())[:300] or type(error).__name__,
        fix="take weights that a training of ours made, or those of a network of timm's",
    )
