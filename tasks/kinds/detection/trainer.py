"""Ultralytics' detection trainer, made to go on exactly where it was killed. Imported by the worker only."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ultralytics.models.yolo.detect import DetectionTrainer
from ultralytics.nn.tasks import DetectionModel, yaml_model_load
from ultralytics.utils.torch_utils import unwrap_model

from tasks.errors import ConfigError
from tasks.kinds.detection.attention import with_attention
from tasks.kinds.detection.backbone import start_from
from tasks.kinds.detection.copy_paste import CopyPaste
from tasks.kinds.detection.distillation import LOSSES, Distilled
from tasks.kinds.detection.pruning import already_pruned, prune
from tasks.kinds.detection.teacher import Teacher
from tasks.lake.blobs import hash_file
from tasks.training.ultralytics_pipeline import put_microscope_in
from tasks.training.ultralytics_resume import ResumableTraining
from tasks.training.ultralytics_sampling import pasted_classes


class ResumableDetectionTraining(ResumableTraining, DetectionTrainer):  # type: ignore[misc]
    """Trains a detector.

    Args:
        overrides, has_val, and others by name: see `ResumableTraining`.
        backbone: Installed ImageNet weights of the architecture's backbone, to start from.
        teacher: Weights of the detector that `knobs.teacher` names.
    """

    def __init__(
        self, overrides: dict[str, Any], *, backbone: Path | None = None, teacher: Path | None = None, **others: Any
    ) -> None:
        self._backbone, self._teacher = backbone, teacher
        super().__init__(overrides, **others)

    def get_model(self, cfg: Any = None, weights: Any = None, verbose: bool = True) -> Any:
        """The network: an architecture, by name or as that of weights, with attention or without some channels."""
        network = already_pruned(cfg, weights, self.data["nc"])
        if network is not None:
            return self._pruned(network)
        if self.knobs.attention == "none":
            network = super().get_model(cfg, weights, verbose)
        else:
            plain = cfg if isinstance(cfg, dict) else yaml_model_load(cfg)
            head = DetectionModel(plain, nc=self.data["nc"], ch=self.data["channels"], verbose=False).model[-1]
            channels = [branch[0].conv.in_channels for branch in head.cv2]
            network = super().get_model(with_attention(plain, self.knobs.attention, channels), weights, verbose)
        if weights is None and self._backbone is not None:
            start_from(network, self._backbone)
        if weights is not None and len(weights.model) != len(network.model):
            _transfer_head(network, weights)
        return self._pruned(network)

    def _pruned(self, network: Any) -> Any:
        """Without the channels that are to go; what a checkpoint holds has lost them already."""
        if self.knobs.prune and self._state is None:
            prune(network, self.knobs.prune)
        return network

    def _setup_train(self) -> None:
        """Set up, and have the model that learns ask its teacher; not the average of weights that is validated."""
        super()._setup_train()
        if self.knobs.teacher is None:
            return
        network = unwrap_model(self.model)
        theirs = getattr(network, "criterion", None) or network.init_criterion()
        network.criterion = Distilled(theirs, self._ask_teacher(network), self.knobs)

    def _ask_teacher(self, network: Any) -> Teacher | None:
        """The teacher; None in a stage that asks it nothing."""
        if self._teacher is None:
            raise ConfigError("teacher: the training was given no weights of it", expected="a local file", found="none")
        self.recorded["teacher_oid"] = hash_file(self._teacher)
        if not self.knobs.asks_teacher:
            return None
        return Teacher(
            self._teacher,
            classes=[str(self.data["names"][index]) for index in sorted(self.data["names"])],
            strides=[int(stride) for stride in network.stride],
            device=self.device,
            channels_last=self.args.channels_last is not False,
        )

    def label_loss_items(self, loss_items: Any = None, prefix: str = "train") -> Any:
        """Names of the parts of the loss, or the parts by name: on the validation split there are none of a teacher."""
        items = super().label_loss_items(loss_items, prefix)
        if prefix == "train" or self.knobs.teacher is None:
            return items
        own = [name for name in items if name.partition("/")[2] not in LOSSES]
        return own if loss_items is None else {name: items[name] for name in own}

    def build_dataset(self, img_path: str, mode: str = "train", batch: int | None = None) -> Any:
        """The frames of a split; those to learn from with objects of others pasted in, until mosaic is closed.

        And changed as under a microscope, to the end.
        """
        dataset = super().build_dataset(img_path, mode, batch)
        if mode != "train":
            return dataset
        if self.knobs.microscope:
            put_microscope_in(dataset, self.knobs.microscope)
        if self.args.copy_paste:
            only = pasted_classes(self.knobs, dataset, self.data["names"])
            dataset.transforms.insert(0, CopyPaste(dataset, self.args.copy_paste, only))
        return dataset


def _transfer_head(network: Any, weights: Any) -> None:
    """Take over what fits of a head: attention has moved it to another number, and ultralytics goes by numbers."""
    theirs, ours = weights.float().model[-1].state_dict(), network.model[-1].state_dict()
    fitting = {name: value for name, value in theirs.items() if name in ours and value.shape == ours[name].shape}
    network.model[-1].load_state_dict(fitting, strict=False)
