"""Uploads while they are decoded."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tasks.config import Settings
from tasks.ingest.formats import Format
from tasks.ingest.single_picture import encode_png
from tasks.ingest.streaming import FrameStream
from tasks.operations.serving.pictures import Pictures


def test_an_upload_has_no_name_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[list[Path]] = []
    frames = FrameStream.frames

    def watched(self: FrameStream, path: Path, form: Format) -> Iterator[Any]:
        seen.append(list(tmp_path.iterdir()))
        return frames(self, path, form)

    monkeypatch.setattr(FrameStream, "frames", watched)
    pictures = Pictures(Settings(work_dir=tmp_path, workers=1))
    try:
        found = pictures.decode(encode_png(np.full((20, 30), 7, np.uint8))).result()
    finally:
        pictures.stop()
    assert found.shape == (20, 30, 3) and (found == 7).all()
    assert seen == [[]]
