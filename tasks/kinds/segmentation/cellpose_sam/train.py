"""Cellpose in the worker's process: its weights as they are, or trained on by cellpose's own training.

That training cannot be resumed: killed, it begins again. It tells nobody of its epochs before it ends, so theirs are
reported then; what they score on the validation split is measured in between.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from itertools import count
from pathlib import Path
from typing import Any

from tasks.errors import ConfigError, DataError
from tasks.kind import Job
from tasks.kinds.segmentation.cellpose_sam.plan import MODEL, CellposePlan, need_cellpose
from tasks.kinds.segmentation.dataset import CellDataset

MIN_SCORE = 0.5
"""A cell's score is the mean chance of its pixels, which lie above 0.5 each: all are kept, as cellpose does."""
MEASURED = 10
"""Epochs that are measured on the validation split: its network is large."""
_UNUSED = "diam_"
"""Numbers that cellpose 4 keeps and does not look at."""


def usable() -> None:
    """Refuse where cellpose is not installed.

    Raises:
        ConfigError: It is not.
    """
    need_cellpose()


def train(job: Job, report: Callable[..., None]) -> None:
    """Load the weights, train on where the plan has epochs, hand over."""
    need_cellpose()
    import numpy as np
    import torch

    from tasks.kinds.segmentation import networks
    from tasks.training.worker_reports import hardware

    began = time.monotonic()
    plan, dataset = CellposePlan.model_validate(job.options["plan"]), CellDataset.read(job.data)
    torch.manual_seed(job.seed)
    np.random.seed(job.seed % 2**32)  # cellpose draws from numpy's own generator
    if job.threads:
        torch.set_num_threads(job.threads)
    if job.weights is None:
        raise ConfigError("model 'cellpose'", expected="`weights` to start from", found="none")
    spec = spec_of(plan, dataset)
    network = networks.build(spec)
    put_into(network.net, job.weights)
    device = torch.device("cuda:0" if torch.cuda.is_available() else "cpu")
    report(
        "started", device=str(device), hardware=hardware(device), epochs=plan.epochs, steps_per_epoch=1, first_epoch=0,
        parameters=sum(each.numel() for each in network.parameters()), imgsz=plan.imgsz,
        train_images=sum(each.split == "train" for each in dataset.images),
    )  # fmt: skip
    network.net.to(device)
    validation = Validation(network, spec, dataset, job)
    if plan.epochs:
        _fine_tune(network.net, job, plan, dataset, validation, report)
    review = (validation.of_epochs.get(plan.epochs) or validation.scores()) if job.has_val else {}
    weights = job.folder / "weights.pt"
    networks.write(weights, network.eval(), spec)
    report("finished", weights=str(weights), review=review, files={}, seconds=round(time.monotonic() - began, 3))


class Validation:
    """What the network scores on the validation split, also while cellpose trains it.

    Args:
        network: A `CellposeSam`, where it computes.
        spec: Of it.
        dataset: What is learned from and measured on.
        job: Of the training.
    """

    def __init__(self, network: Any, spec: Mapping[str, Any], dataset: CellDataset, job: Job) -> None:
        self._network, self._spec, self._dataset, self._job = network, dict(spec), dataset, job
        self.of_epochs: dict[int, dict[str, float]] = {}

    def scores(self) -> dict[str, float]:
        """`val/...` of the network as it is, by the score from which on its cells count."""
        import numpy as np

        from tasks.kinds.segmentation.training.measure import in_use, masks_tally

        root, drawn = self._job.data.parent, np.random.get_state()
        images = [image for image in self._dataset.images if image.split == "val"]
        pictures = ((self._dataset.picture(root, image), self._dataset.objects(root, image)) for image in images)
        with in_use(self._network):
            tally = masks_tally(self._network, self._spec, pictures, str(self._network.net.device))
        np.random.set_state(drawn)  # measured or not, the training draws the same
        return {f"val/{name}": value for name, value in tally.at(MIN_SCORE).items()} | {"val/min_score": MIN_SCORE}

    @contextmanager
    def between_epochs(self, epochs: int) -> Iterator[None]:
        """Have some epochs measured, the last among them: cellpose sets its network to train at the start of each."""
        net, begun = self._network.net, count()
        wanted = {epoch for epoch in range(1, epochs) if epoch % math.ceil(epochs / MEASURED) == 0}
        own = net.train

        def train(mode: bool = True) -> Any:
            if mode and (epoch := next(begun)) in wanted:
                self.of_epochs[epoch] = self.scores()
            return own(mode)

        net.train = train
        try:
            yield
        finally:
            del net.train
        self.of_epochs[epochs] = self.scores()


def spec_of(plan: CellposePlan, dataset: CellDataset) -> dict[str, Any]:
    """What the file of weights says of the network; see `networks`.

    Raises:
        ConfigError: There are several classes: cellpose finds cells and does not tell them apart.
    """
    if len(dataset.classes) > 1:
        raise ConfigError(
            "model 'cellpose' finds cells of one class", expected="a line of one class",
            found=", ".join(dataset.classes), fix="take another recipe",
        )  # fmt: skip
    own = plan.model_dump(include={"flow_threshold", "cellprob_threshold", "min_size", "iterations"})
    return {
        "model": MODEL, "classes": list(dataset.classes), "min_score": MIN_SCORE, **own,
        "input": plan.input_plan(dataset.channels).model_dump(mode="json"),
    }  # fmt: skip


def put_into(network: Any, weights: Path) -> None:
    """Put the user's weights into a network of cellpose's. Nothing in their file can run.

    Raises:
        DataError: They are not of Cellpose-SAM.
    """
    from tasks.training.tensors import read_tensors

    ours = network.state_dict()
    theirs = {name.removeprefix("net."): tensor for name, tensor in read_tensors(weights).items()}
    lacking = [
        name for name in ours
        if not name.startswith(_UNUSED) and (name not in theirs or theirs[name].shape != ours[name].shape)
    ]  # fmt: skip
    if lacking:
        raise DataError(
            f"weights {weights.name}: are not those of Cellpose-SAM",
            expected=f"the tensor {lacking[0]} {tuple(ours[lacking[0]].shape)}",
            found=f"{len(ours) - len(lacking)} of {len(ours)} tensors that fit",
            fix="take cellpose 4's `cpsam` or what was fine-tuned from it; older ones and cpdino are others",
        )  # fmt: skip
    network.load_state_dict({**ours, **{name: theirs[name] for name in ours if name in theirs}})


def _fine_tune(
    network: Any, job: Job, plan: CellposePlan, dataset: CellDataset, validation: Validation,
    report: Callable[..., None],
) -> None:  # fmt: skip
    from cellpose.train import train_seg  # type: ignore[import-untyped]

    from tasks.kinds.segmentation.networks.cellpose_sam import as_cellpose
    from tasks.kinds.segmentation.objects import label_image
    from tasks.kinds.segmentation.pictures import prepare, scaled, scaled_labels

    how = plan.input_plan(dataset.channels)
    pictures, labels = [], []
    for picture in (each for each in dataset.images if each.split == "train"):
        prepared = scaled(prepare(dataset.picture(job.data.parent, picture), how), how.scale)
        cells = label_image(dataset.objects(job.data.parent, picture), picture.height_px, picture.width_px)
        pictures.append(as_cellpose(prepared).transpose(2, 0, 1))
        labels.append(scaled_labels(cells, how.scale))
    report("nondeterministic", operation="cellpose's own training")
    with validation.between_epochs(plan.epochs) if job.has_val else nullcontext():
        _, losses, _ = train_seg(
            network, train_data=pictures, train_labels=labels, normalize=False, batch_size=plan.batch_size,
            learning_rate=plan.learning_rate, n_epochs=plan.epochs, weight_decay=plan.weight_decay, min_train_masks=1,
            save_path=str(job.folder), model_name="cellpose",
        )  # fmt: skip
    for epoch, loss in enumerate(losses, 1):
        report(
            "epoch", epoch=epoch, epochs=plan.epochs, step=epoch, at_ms=round(time.time() * 1000),
            metrics={"train/loss": float(loss), **validation.of_epochs.get(epoch, {})},
        )  # fmt: skip
