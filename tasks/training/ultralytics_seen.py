"""What the network is shown first in each stage of a training by ultralytics, kept for people. For workers only."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tasks.training.contact_sheet import PICTURES, Picture, contact_sheet, file_name
from tasks.whole_files import written_whole

Sheets = dict[str, torch.Tensor]
"""Files by name, in the one form that a checkpoint of ours holds."""


class Seen:
    """Collects the first pictures of a stage, and makes its contact sheet of them.

    The sheets of earlier stages, and of this one where it is gone on with, come from the checkpoint.

    Args:
        stage: Counted from 0.
        stages: How many there are.
        before: A checkpoint's content, if there is one.
    """

    def __init__(self, stage: int, stages: int, before: Mapping[str, Any] | None) -> None:
        self._name = file_name(stage + 1, stages)
        self.sheets: Sheets = dict((before or {}).get("sheets", {}))
        self._pictures: list[Picture] = []
        self._names: list[str] | None = None

    def look(self, names: Mapping[int, str]) -> None:
        """Begin; until then, and after the first epoch, nothing is kept."""
        self._names, self._pictures = [str(names[index]) for index in sorted(names)], []

    def add(self, batch: Mapping[str, Any]) -> None:
        """Keep the pictures of a batch as the network gets them: RGB from 0 to 1, boxes as shares."""
        if self._names is None:
            return
        images = batch["img"][: PICTURES - len(self._pictures)]
        for index, image in enumerate(images):
            mine = batch["batch_idx"].view(-1) == index
            height, width = image.shape[1:]
            pixels = (image.detach().float().cpu().clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy()
            middle_and_size = batch["bboxes"][mine].cpu().numpy().reshape(-1, 4) * [width, height, width, height]
            middle, half = middle_and_size[:, :2], middle_and_size[:, 2:] / 2
            boxes = np.concatenate([middle - half, middle + half], axis=1)
            labels = batch["cls"][mine].view(-1).cpu().numpy().astype(np.int64)
            self._pictures.append(Picture(pixels[..., :3], boxes, labels))

    def write(self, run: Path) -> None:
        """At an epoch's end, the first's: make the sheet, and write it into the run's folder."""
        if self._names is None or not self._pictures:
            return
        jpeg = contact_sheet(self._pictures, self._names)
        self.sheets[self._name] = torch.frombuffer(bytearray(jpeg), dtype=torch.uint8)
        put_sheets(self.sheets, run)
        self._names, self._pictures = None, []


def put_sheets(sheets: Sheets, run: Path) -> None:
    """Write sheets into a run's folder."""
    for name, content in sheets.items():
        with written_whole(run / Path(name).name) as part:
            part.write_bytes(content.numpy().tobytes())
