"""Sampling, extraction by index and plain decoding agree, for all that PyAV can write."""

from __future__ import annotations

from pathlib import Path

import av
import cv2
import numpy as np
import numpy.typing as npt
import pytest

from tasks.ingest import video
from tasks.ingest.formats import check_content, format_of
from tasks.ingest.images import Image
from tasks.ingest.sampling import Extractor, Picture, Rate, Sampler
from tests.ingest.matrix import DARK, FRAMES, LIGHT, Case, cases, is_deep, number_in, picture, size_of, write

pytestmark = pytest.mark.integration  # decodes at length

CASES = cases()


def pixels(taken: Picture) -> Image:
    return np.asarray(cv2.imdecode(np.frombuffer(taken.data, np.uint8), cv2.IMREAD_COLOR), np.uint8)


def plainly_decoded(path: Path) -> list[Image]:
    """All frames from the beginning, by PyAV alone."""
    with av.open(str(path)) as container:
        return [np.asarray(frame.to_ndarray(format="bgr24"), np.uint8) for frame in container.decode(video=0)]


def coarse(grey: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Means of 8 x 6 parts: formats of few colours dither."""
    return np.asarray(cv2.resize(grey, (8, 6), interpolation=cv2.INTER_AREA), np.float64)


def should_be(number: int, pix_fmt: str, codec: str) -> npt.NDArray[np.float64]:
    """What was drawn; of deep formats, stretched from black to white."""
    drawn = picture(number, *size_of(codec)).astype(float)
    return (drawn - DARK) * 255 / (LIGHT - DARK) if is_deep(codec, pix_fmt) else drawn


def test_there_is_a_matrix() -> None:
    assert len(CASES) > 900
    assert {("avi", "rawvideo", "pal8"), ("mov", "rawvideo", "pal8"), ("mkv", "ffv1", "gray16le")} <= set(CASES)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("matrix")


@pytest.mark.parametrize("case", CASES, ids="-".join)
def test_sampling_and_extraction_give_the_same_true_picture(folder: Path, case: Case) -> None:
    suffix, codec, pix_fmt = case
    path = write(folder / f"clip.{suffix}", codec, pix_fmt)
    kind = format_of(path.name)
    assert kind is not None
    check_content(path, kind)

    sampler = Sampler({"line": Rate(0.04, 99, 0)})
    media, pts = video.read(path, kind, sampler)
    assert (media.frames_announced, media.frames_decoded, len(pts)) == (FRAMES, FRAMES, FRAMES)
    assert (media.width_px, media.height_px) == size_of(codec)
    sampled = {taken.frame_index: taken for taken in sampler.pictures}
    seen = {index: pixels(taken) for index, taken in sampled.items()}
    assert {index: number_in(image) for index, image in seen.items()} == {index: index for index in range(FRAMES)}

    known = (media.grey_low, media.grey_high) if media.grey_low is not None and media.grey_high is not None else None
    assert (known is not None) == is_deep(codec, pix_fmt)
    for index in (0, 3, 6):
        sink = Extractor([index])
        video.read(path, kind, sink, frames_known=media.frames_decoded, grey_range=known)
        assert sink.pictures == [sampled[index]]

    reference = plainly_decoded(path)
    for index, image in seen.items():
        # What was drawn, as true as so few bits and lossy codecs allow; and exactly what the decoder says.
        assert np.abs(coarse(image.mean(2)) - coarse(should_be(index, pix_fmt, codec))).mean() < 15
        if not is_deep(codec, pix_fmt):
            assert np.abs(image.astype(float) - reference[index]).mean() < 3
