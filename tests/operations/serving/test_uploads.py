"""Uploads while they are decoded."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from tasks.config import Settings
from tasks.errors import UnreadableRecording
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


def test_channels_that_the_line_names_are_shown_in_their_colours(tmp_path: Path) -> None:
    file = io.BytesIO()
    values = np.zeros((2, 20, 30), np.uint16)
    values[0, :10], values[1, :, :15] = 3000, 500
    tifffile.imwrite(file, values, photometric="minisblack")
    for channels in ({"nucleus": 1, "membrane": 0}, {}):
        pictures = Pictures(Settings(work_dir=tmp_path, workers=1), channels)
        try:
            done = pictures.decode(file.getvalue())
            if channels:
                found = done.result()
                assert found.dtype == np.uint8 and (found[..., 0] == values[1] // 2 * 255 // 250).all()  # nuclei: blue
                assert (found[..., 1] == values[0] // 3000 * 255).all() and not found[..., 2].any()
            else:
                with pytest.raises(UnreadableRecording):
                    done.result()
        finally:
            pictures.stop()
