"""A trainer of ultralytics', made to go on exactly where it was killed: detection, segmentation. For workers only.

Six things differ from the original, each for a reason:

- **Exact resume.** Its checkpoint holds half-precision averages of the weights, not the weights. Ours adds the weights,
  the optimizer and the averages in full precision, and every epoch's shuffling and augmentation follow from (seed,
  epoch) alone. On a CPU, killed and resumed gives the same model as never killed.
- **No validation split is fine.** The original validates the last epoch, and again at the end, on whatever `val` names.
- **Channels-last on a CPU**, as it does by itself on a GPU: the same numbers, a quarter faster.
- **Stages**: a training may be one of several that follow each other; epochs, steps and results.csv are counted on.
- **Values of ours** (`ultralytics_knobs.py`): losses, clipping, averages of weights, classes of different
  frequency. Albumentations is kept out where no recipe asks for it.
- **A contact sheet** of the first pictures of each stage, as the network sees them.
"""

from __future__ import annotations

import io
import math
import random
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ultralytics.utils import RANK
from ultralytics.utils.torch_utils import unwrap_model

from tasks.training.determinism import epoch_seed
from tasks.training.meter import note_gradient
from tasks.training.ultralytics_allowed import FROZEN_PARTS
from tasks.training.ultralytics_knobs import NONE, Knobs
from tasks.training.ultralytics_losses import focus, measure_overlap
from tasks.training.ultralytics_pipeline import keep_albumentations_out
from tasks.training.ultralytics_precision import without_trial_model
from tasks.training.ultralytics_recent import keep_recent, recent
from tasks.training.ultralytics_sampling import class_counts, class_weights, order_epochs
from tasks.training.ultralytics_seen import Seen
from tasks.training.ultralytics_stages import Stage
from tasks.whole_files import written_whole


class ResumableTraining:
    """What makes a trainer of ultralytics' resumable; stands before it among the bases of a class.

    (That class's name must not end in `Trainer`: it would be given ultralytics' own MLflow callback and others.)

    Args:
        overrides: Ultralytics arguments.
        has_val: Whether the dataset version has a validation split.
        state: What `checkpoint()` saved, to go on from; `overrides["resume"]` must name its `last.pt`.
        knobs: Values that ultralytics has no argument for.
        stage: Which stage of the training this is.
        before: What `checkpoint()` saved, or `carried()` returned, at the end of the stage before, to begin with.
        start_seed: Of the first weights, where it is not that of the rest.
    """

    # Of ultralytics' trainer, which comes after this class.
    model: Any
    args: Any
    batch: Any
    best: Path
    csv: Path
    data: dict[str, Any]
    device: Any
    ema: Any
    epoch: int
    epochs: int
    last: Path
    metrics: Any
    optimizer: Any
    scaler: Any
    start_epoch: int
    stop: Any
    train_loader: Any

    def __init__(
        self,
        overrides: dict[str, Any],
        *,
        has_val: bool,
        state: dict[str, Any] | None = None,
        knobs: Knobs | None = None,
        stage: Stage | None = None,
        before: dict[str, Any] | None = None,
        start_seed: int | None = None,
    ) -> None:
        self.has_val = has_val
        self.knobs, self.stage = knobs or Knobs(), stage or Stage(all_epochs=int(overrides["epochs"]))
        self._state, self._before, self._start_seed = state, before, start_seed
        so_far = state or before
        self.steps = int(so_far["steps"]) if so_far else 0
        self.recorded: dict[str, Any] = {}
        """What else the training's record has of how it was set up."""
        self.seen = Seen(self.stage.number, self.stage.count)
        keep_albumentations_out()
        super().__init__(overrides=overrides)  # type: ignore[call-arg]
        self.add_callback(  # type: ignore[attr-defined]
            "on_train_epoch_start", lambda _: self._begin_epoch()
        )

    def _begin_epoch(self) -> None:
        self._seed_epoch()
        if self.epoch == 0 and RANK in (-1, 0):
            self.seen.look(self.data["names"])

    def preprocess_batch(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Prepare a batch as ultralytics does, and keep what it looks like for people, of a stage's first pictures."""
        batch = super().preprocess_batch(batch)  # type: ignore[misc]
        self.seen.add(batch)
        return batch

    def _seed_epoch(self) -> None:
        """Make this epoch's augmentation a function of (seed, epoch)."""
        # Of several processes that train together, each augments differently; alone, the rank is -1.
        seed = epoch_seed(self.args.seed, self.stage.first_epoch + self.epoch) + 7919 * max(RANK, 0)
        random.seed(seed)
        np.random.seed(seed % 2**32)
        torch.manual_seed(seed)

    def get_dataloader(self, dataset_path: str, batch_size: int = 16, rank: int = 0, mode: str = "train") -> Any:
        """The loader, which shows each epoch what follows from (seed, epoch)."""
        loader = super().get_dataloader(dataset_path, batch_size, rank, mode)  # type: ignore[misc]
        if mode == "train":
            first = self._state["epoch"] + 1 if self._state else self.start_epoch  # rebuilt where memory ran out
            order_epochs(loader, self.args.seed, self.stage.first_epoch + first, self.knobs)
        return loader

    def set_class_weights(self) -> None:
        """Weigh classes as ultralytics does, or as our knobs say."""
        super().set_class_weights()  # type: ignore[misc]
        if self.knobs.class_weights != NONE:
            names = [str(self.data["names"][index]) for index in sorted(self.data["names"])]
            weights = class_weights(self.knobs, class_counts(self.train_loader.dataset, len(names)), names)
            unwrap_model(self.model).class_weights = torch.from_numpy(weights).float().to(self.device)

    def setup_model(self) -> Any:
        """Build or load the model; a later stage's has the weights that the one before ended with."""
        if self._start_seed is not None:
            torch.manual_seed(self._start_seed)
        checkpoint = super().setup_model()  # type: ignore[misc]
        if self._before:
            self.model.load_state_dict(self._before["model"])
        if self.args.freeze in FROZEN_PARTS:
            self.args.freeze = first_layers(self.model, self.args.freeze)
        if self.device.type == "cpu" and self.args.channels_last is not False:
            self.model = self.model.to(memory_format=torch.channels_last)
        return checkpoint

    def _setup_train(self) -> None:
        """Set up as ultralytics does, then what it has no argument for, and what the stage before left."""
        with without_trial_model():
            super()._setup_train()  # type: ignore[misc]
        self._set_decay()
        for network in (self.model, self.ema.ema):  # the latter is asked for the loss on the validation split
            if self.knobs.focal_gamma:
                focus(unwrap_model(network), self.knobs.focal_gamma)
            if self.knobs.iou_loss != "ciou":
                measure_overlap(unwrap_model(network), self.knobs.iou_loss)
        if self._before:
            self.ema.ema.load_state_dict(self._before["ema"])
            self.ema.updates = self._before["updates"]
            self.csv.write_text(self._before["results"])
            self._before = None

    def _load_checkpoint_state(self, ckpt: dict[str, Any]) -> None:
        """Put back what a checkpoint of ultralytics' holds; the average of weights is made anew by it."""
        super()._load_checkpoint_state(ckpt)  # type: ignore[misc]
        self._set_decay()

    def _set_decay(self) -> None:
        """Ultralytics' own ramp (`ModelEMA`), with the decay and the steps that are asked for."""
        if self.ema is not None:
            most, tau = self.knobs.ema, self.knobs.ema_tau
            self.ema.decay = lambda updates: most * (1 - math.exp(-updates / tau))

    def optimizer_step(self) -> None:
        """Step as ultralytics does, clipped as asked for, and count it."""
        self.scaler.unscale_(self.optimizer)
        if self.knobs.clip_norm:
            note_gradient(torch.nn.utils.clip_grad_norm_(self.model.parameters(), max_norm=self.knobs.clip_norm))
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad()
        if self.ema:
            self.ema.update(self.model)
        self.steps += 1

    def validate(self) -> tuple[dict[str, Any], float | None]:
        """Validate, where there is something to validate on."""
        if self.has_val:
            return super().validate()  # type: ignore[misc, no-any-return]
        return dict(self.metrics), None

    def final_eval(self) -> None:
        """Nothing: the worker reviews the finished weights itself, also when it was killed before it could."""

    def save_metrics(self, metrics: dict[str, Any]) -> None:
        """Write a line of results.csv, its epoch counted through all stages."""
        self.epoch += self.stage.first_epoch
        super().save_metrics(metrics)  # type: ignore[misc]
        self.epoch -= self.stage.first_epoch

    def save_model(self) -> bool:
        """Save what ultralytics does, and what is averaged at the end."""
        saved: bool = super().save_model()  # type: ignore[misc]
        if self.knobs.average_last and self.stage.last:
            keep_recent(self.last.parent, self.epoch, self.ema.ema, unwrap_model(self.model), self.knobs.average_last)
        return saved

    @property
    def stage_over(self) -> bool:
        """Whether the epoch just ended is the stage's last."""
        return bool(self.stop) or self.epoch + 1 >= self.epochs

    def carried(self) -> dict[str, Any]:
        """What the next stage begins with."""
        return {
            "steps": self.steps,
            "results": self.csv.read_text() if self.csv.exists() else "",
            "model": unwrap_model(self.model).state_dict(),
            "ema": self.ema.ema.state_dict(),
            "updates": self.ema.updates,
        }

    def checkpoint(self) -> bytes:
        """Everything needed to go on after the epoch just ended. Call it when `last.pt` has been written."""
        buffer = io.BytesIO()
        torch.save(
            {
                **self.carried(),
                "stage": self.stage.number,
                "epoch": self.epoch,
                "stage_over": self.stage_over,
                "finished": self.stage_over and self.stage.last,
                "last": _as_tensor(self.last),
                "best": _as_tensor(self.best) if self.has_val and self.best.exists() else None,
                "optimizer": self.optimizer.state_dict(),
                "recent": {path.name: _as_tensor(path) for path in recent(self.last.parent)},
            },
            buffer,
        )
        return buffer.getvalue()

    def resume_training(self, ckpt: dict[str, Any] | None) -> None:
        """Go on from `last.pt`, then put back what its half precision lost."""
        super().resume_training(ckpt)  # type: ignore[misc]
        if self._state is None:
            return
        unwrap_model(self.model).load_state_dict(self._state["model"])
        if self.ema is not None:  # the first process keeps the averages for all
            self.ema.ema.load_state_dict(self._state["ema"])
        self.optimizer.load_state_dict(self._state["optimizer"])
        self._state = None


def first_layers(network: Any, part: str) -> int:
    """How many layers a word of `freeze` means, counted from the first."""
    return len(network.yaml["backbone"]) if part == "backbone" else len(network.model) - 1


def unpack(checkpoint: Path, run: Path) -> dict[str, Any]:
    """Lay a checkpoint's files out in `run` as ultralytics expects them, and return the rest.

    Nothing in it can run: it is tensors and numbers alone. What it unpacks is loaded by ultralytics, as harmlessly.
    """
    state: dict[str, Any] = torch.load(checkpoint, map_location="cpu", weights_only=True)
    weights = run / "weights"
    weights.mkdir(parents=True, exist_ok=True)
    for name in ("last", "best"):
        content = state.pop(name)
        if content is not None:
            _put_whole(weights / f"{name}.pt", content.numpy().tobytes())
    for name, content in state.pop("recent", {}).items():
        _put_whole(weights / Path(name).name, content.numpy().tobytes())
    _put_whole(run / "results.csv", state["results"].encode())
    return state


def _put_whole(path: Path, data: bytes) -> None:
    """Write a file that another process of the same training may be reading, with the same content."""
    with written_whole(path) as part:
        part.write_bytes(data)


def _as_tensor(path: Path) -> torch.Tensor:
    """A file's bytes, in the one form that torch stores without inflating or executing anything."""
    return torch.frombuffer(bytearray(path.read_bytes()), dtype=torch.uint8)
