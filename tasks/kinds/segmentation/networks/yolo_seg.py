"""Ultralytics' YOLO-seg in the form of our networks.

Masks of YOLO-seg are linear combinations of prototypes, at a quarter of the tile's resolution, cut off at the box
(Bolya et al. 2019, "YOLACT", arXiv:1904.02689). Its network is built from the name of an architecture that ultralytics
ships, never from what a file says: a description of layers may hold a program.
"""

import os
import stat
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
import torchvision
from torch import nn

from tasks.kinds.segmentation.architectures import YOLO_SEG
from tasks.kinds.segmentation.networks.raw import RawInstances, no_instances

MODEL = "yolo-seg"
KNEE = 0.8
"""What brightness 1, the upper percentile of a picture, becomes in 8 bits."""
GRID = 32
"""Side of an instance's mask; prototypes have a quarter of a tile's pixels along a side."""
STRIDE = 4
_CHUNK = 128
_CANDIDATES = 5000


def squeezed(brightness: torch.Tensor) -> torch.Tensor:
    """Brightness from 0 up as brightness in [0, 1): y = 0.8 v up to v = 1, then 1 - 0.2 exp(1 - v).

    Ultralytics trains on files of 8 bits, and what is brighter than the upper percentile must not be cut off.
    """
    below = brightness.clamp(0, 1)
    return KNEE * below + (1 - KNEE) * (1 - torch.exp(-(brightness - below).clamp(min=0)))


class YoloSeg(nn.Module):  # type: ignore[misc]
    """A YOLO-seg that answers as our networks do. It has no `fill`: it has no stage that takes boxes.

    Args:
        architecture: One of `YOLO_SEG`.
        classes: How many.
        iou: Of two boxes that overlap more the weaker is dropped, whatever their classes.
        max_det: Cells of a tile at most.
    """

    def __init__(self, architecture: str, classes: int, iou: float = 0.5, max_det: int = 500) -> None:
        super().__init__()
        if architecture not in YOLO_SEG:
            raise ValueError(f"no architecture of YOLO-seg: {architecture!r}")
        _quiet()
        from ultralytics.nn.tasks import SegmentationModel

        self.yolo = SegmentationModel(architecture, nc=classes, verbose=False)
        self.classes, self.iou, self.max_det = classes, iou, max_det

    def encode(self, tiles: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Boxes, scores and coefficients [b, 4 + classes + 32, anchors]; prototypes [b, 32, H / 4, W / 4]."""
        (answers, prototypes), _ = self.yolo(squeezed(tiles))
        return answers, prototypes

    @torch.inference_mode()  # type: ignore[untyped-decorator]
    def raw_instances(self, tiles: torch.Tensor, min_score: float) -> list[RawInstances]:
        """The cells of prepared tiles [b, 3, H, W] that score at least `min_score`; H and W multiples of 32."""
        answers, prototypes = self.encode(tiles)
        return [self._of_one(*each, min_score) for each in zip(answers.float(), prototypes.float(), strict=True)]

    def _of_one(self, answers: torch.Tensor, prototypes: torch.Tensor, min_score: float) -> RawInstances:
        scores, labels = answers[4 : 4 + self.classes].max(0)
        kept = (scores >= min_score).nonzero()[:, 0]
        kept = kept[scores[kept].argsort(descending=True, stable=True)[:_CANDIDATES]]
        middle, size = answers[:2, kept].T, answers[2:4, kept].T
        boxes = torch.cat([middle - size / 2, middle + size / 2], 1)
        best = torchvision.ops.nms(boxes, scores[kept], self.iou)[: self.max_det]
        kept, boxes = kept[best], boxes[best]
        height, width = (STRIDE * side for side in prototypes.shape[1:])
        windows = _windows(boxes, height, width)
        inside = (windows[:, 2] > windows[:, 0]) & (windows[:, 3] > windows[:, 1])
        kept, boxes, windows = kept[inside], boxes[inside], windows[inside]
        if not len(kept):
            return no_instances(GRID)
        masks = _masks(answers[4 + self.classes :, kept].T, prototypes, windows)
        return RawInstances(boxes, scores[kept], labels[kept], windows, masks)


def build(spec: dict[str, Any]) -> YoloSeg:
    """The network that a spec describes, with fresh weights.

    Raises:
        ValueError: It describes none.
    """
    network = YoloSeg(str(spec.get("architecture")), len(spec["classes"]), float(spec["iou"]), int(spec["max_det"]))
    network.eval()
    return network


def _windows(boxes: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """Whole pixels that a box touches, within the tile; int64 [n, 4]."""
    low, high = boxes[:, :2].floor(), boxes[:, 2:].ceil()
    most = torch.tensor([width, height], device=boxes.device)
    return torch.cat([low.clamp(min=0), torch.minimum(high, most)], 1).long()


def _masks(coefficients: torch.Tensor, prototypes: torch.Tensor, windows: torch.Tensor) -> torch.Tensor:
    """Chances [n, GRID, GRID] over windows, of the coefficients [n, 32] and prototypes [32, h, w] of one tile."""
    depth, height, width = prototypes.shape
    out = []
    for start in range(0, len(windows), _CHUNK):
        some = windows[start : start + _CHUNK].float()
        logits = (coefficients[start : start + _CHUNK] @ prototypes.view(depth, -1)).view(-1, 1, height, width)
        places = torch.cat([torch.arange(len(some), device=some.device)[:, None].float(), some], 1)
        out.append(torchvision.ops.roi_align(logits, places, GRID, 1 / STRIDE, sampling_ratio=1, aligned=True)[:, 0])
    return torch.cat(out).sigmoid()


def _quiet() -> None:
    """Have ultralytics look nothing up and run nothing that a file holds; it is asked before its first import alone."""
    if "ultralytics" in sys.modules:
        return
    os.environ.update({"YOLO_OFFLINE": "1", "YOLO_AUTOINSTALL": "false", "ULTRALYTICS_SAFE_LOAD": "1"})
    os.environ.setdefault("YOLO_VERBOSE", "False")
    os.environ.setdefault("OMP_NUM_THREADS", str(len(os.sched_getaffinity(0))))  # it would set it to 1, for all to come
    if not os.environ.get("YOLO_CONFIG_DIR"):
        os.environ["YOLO_CONFIG_DIR"] = _private_folder()


def _private_folder() -> str:
    """A folder for its settings that only we can write to. Its name can be guessed: somebody else may have made it."""
    folder = Path(tempfile.gettempdir()) / f"nightscope-yolo-{os.getuid()}"
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    found = folder.lstat()
    ours = stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o022
    return str(folder) if ours else tempfile.mkdtemp(prefix="nightscope-yolo-")
