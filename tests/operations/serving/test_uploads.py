"""Uploads while they are decoded."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from tasks.config import Settings
from tasks.errors import UnreadableRecording
from tasks.ingest.single_picture import encode_png
from tasks.ingest.streaming import FrameStream, Still
from tasks.kinds.segmentation.predictor import LoadedSegmenter
from tasks.operations.serving.pictures import Pictures
from tests.kinds.segmentation.test_predictor import tiny_spec, write_tiny
from tests.operations.serving.test_predict_originals import faint, saved


def test_an_upload_has_no_name_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[list[Path]] = []
    still = FrameStream.still

    def watched(self: FrameStream, path: Path) -> Still:
        seen.append(list(tmp_path.iterdir()))
        return still(self, path)

    monkeypatch.setattr(FrameStream, "still", watched)
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


def uploaded(tmp_path: Path, path: Path, predictor: LoadedSegmenter, channels: dict[str, int] | None = None) -> Any:
    """What the service shows a model of a file."""
    pictures = Pictures(Settings(work_dir=tmp_path / "work", workers=1), channels)
    try:
        return pictures.decode(path.read_bytes(), predictor.read_original).result()
    finally:
        pictures.stop()


def test_models_of_pictures_as_they_were_taken_are_shown_such(tmp_path: Path) -> None:
    """As `predict` shows them: faint cells beside hot pixels are in no 8-bit frame."""
    predictor = LoadedSegmenter(write_tiny(tmp_path / "weights", tiny_spec()), device="cpu")
    for name in ("deep.png", "deep.tif"):
        path = saved(tmp_path / name, faint())
        found = uploaded(tmp_path, path, predictor)
        assert found.dtype == np.uint16 and np.array_equal(found, predictor.read_original(path))
        assert predictor.predict([found])[0].height_px == 64
    plain = saved(tmp_path / "plain.png", (faint() // 256).astype(np.uint8))
    assert uploaded(tmp_path, plain, predictor).shape == (64, 64, 3), "of 8 bits the frame shows all"

    channels = {"nucleus": 1, "membrane": 0}
    mapping = LoadedSegmenter(write_tiny(tmp_path / "two", tiny_spec(channels=channels)), device="cpu")
    two = saved(tmp_path / "two.tif", np.stack([faint(), faint().T]), photometric="minisblack")
    found = uploaded(tmp_path, two, mapping, channels)
    assert found.dtype == np.uint16 and np.array_equal(found[:, :, 0], faint().T)  # BGR


def test_an_upload_that_the_model_cannot_read_is_refused_without_a_path(tmp_path: Path) -> None:
    predictor = LoadedSegmenter(write_tiny(tmp_path / "weights", tiny_spec(channels={"nucleus": 5})), device="cpu")
    path = saved(tmp_path / "three.png", np.stack([faint()] * 3, axis=-1))
    with pytest.raises(UnreadableRecording, match=r"^the upload has 3 channels; expected at least 6") as caught:
        uploaded(tmp_path, path, predictor)
    assert "/proc" not in str(caught.value) and str(tmp_path) not in str(caught.value)


def test_a_reader_that_dies_of_a_file_takes_nothing_with_it(tmp_path: Path) -> None:
    path = saved(tmp_path / "deep.png", faint())
    with FrameStream() as stream:
        with pytest.raises(UnreadableRecording, match="crashed"):
            stream.read(path, "os:abort")
        assert stream.still(path).deep
