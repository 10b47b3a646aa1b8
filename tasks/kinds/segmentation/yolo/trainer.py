"""Ultralytics' segmentation trainer, resumable, started from weights of either hand. Imported by the worker only."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ultralytics.models.yolo.segment import SegmentationTrainer

from tasks.errors import DataError
from tasks.training.ultralytics_loading import load_checkpoint
from tasks.training.ultralytics_resume import ResumableTraining

LEAST_SHARE = 0.5
"""Of a network's tensors that weights must fit, to be called its weights; the last layers depend on the classes."""


class ResumableSegmentationTraining(ResumableTraining, SegmentationTrainer):  # type: ignore[misc]
    """Trains a YOLO-seg. `start`: weights to start from, ultralytics' own or those of a training of ours."""

    start: Path | None = None

    def get_model(self, cfg: Any = None, weights: Any = None, verbose: bool = True) -> Any:
        """Build the network; with what a resumed training gives as `weights`, else with `start`."""
        network = super().get_model(cfg, weights, verbose)
        if weights is None and self.start is not None:
            put_into(network, self.start)
        return network


def put_into(network: Any, weights: Path) -> None:
    """Put the tensors that fit into a network.

    Raises:
        DataError: They are of another network, or cannot be loaded.
    """
    ours, theirs = network.state_dict(), starting_tensors(weights)
    fitting = {name: tensor for name, tensor in theirs.items() if name in ours and tensor.shape == ours[name].shape}
    if len(fitting) < LEAST_SHARE * len(ours):
        raise DataError(
            f"weights {weights.name}: are not those of this architecture",
            expected=f"most of its {len(ours)} tensors", found=f"{len(fitting)} that fit",
            fix="set `architecture` to what the weights are of, or name other weights",
        )  # fmt: skip
    network.load_state_dict({**ours, **fitting})


def starting_tensors(weights: Path) -> dict[str, Any]:
    """The tensors of a file of ultralytics' or of ours, by ultralytics' names. Nothing in it can run."""
    import torch

    from tasks.training.ultralytics_loading import harmless

    harmless()
    try:
        content = torch.load(weights, map_location="cpu", weights_only=True)
    except Exception:  # ultralytics' own hold classes of theirs: they are let in by name, or refused, below
        content = None
    if isinstance(content, dict) and isinstance(content.get("state"), dict):
        return {str(name).removeprefix("yolo."): tensor for name, tensor in content["state"].items()}
    held = load_checkpoint(weights)
    found: dict[str, Any] = (held.get("ema") or held["model"]).float().state_dict()
    return found
