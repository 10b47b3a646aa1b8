"""What the network is shown first in each stage of a training by ultralytics, kept for people. For workers only."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tasks.training.contact_sheet import PICTURES, Picture, contact_sheet, file_name
from tasks.whole_files import written_whole


class Seen:
    """Collects the first pictures of a stage, and makes its contact sheet of them.

    Args:
        stage: Counted from 0.
        stages: How many there are.
    """

    def __init__(self, stage: int, stages: int) -> None:
        self._name = file_name(stage + 1, stages)
        self._pictures: list[Picture] = []
        self._names: list[str] | None = None

    def look(self, names: Mapping[int, str]) -> None:
        """Begin; until then, and after the first epoch, nothing is kept."""
        self._names, self._pictures = [str(names[index]) for index in sorted(names)], []

    def add(self, batch: Mapping[str, Any]) -> None:
        """Keep the pictures of a batch as the network gets them: RGB from 0 to 1, boxes as shares."""
        if self._names is None:
            return
        for index, image in enumerate(batch["img"][: PICTURES - len(self._pictures)]):
            mine = batch["batch_idx"].view(-1) == index
            height, width = image.shape[1:]
            pixels = (image.detach().float().cpu().clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy()
            boxes = batch["bboxes"][mine].cpu().numpy().reshape(-1, 4) * [width, height, width, height]
            middle, half = boxes[:, :2], boxes[:, 2:] / 2
            labels = batch["cls"][mine].view(-1).cpu().numpy().astype(np.int64)
            self._pictures.append(Picture(pixels, np.concatenate([middle - half, middle + half], axis=1), labels))

    def written(self, run: Path) -> Path | None:
        """At the first epoch's end: make the sheet and write it into the run's folder; None: there is none to make."""
        if self._names is None or not self._pictures:
            return None
        with written_whole(run / self._name) as part:
            part.write_bytes(contact_sheet(self._pictures, self._names))
        self._names, self._pictures = None, []
        return run / self._name
