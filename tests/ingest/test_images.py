from __future__ import annotations

import cv2
import numpy as np

from tasks.ingest.images import encode_jpeg, kept_jpeg, kept_png
from tests.ingest.clips import numbered

COLOUR = np.dstack([numbered(1), numbered(2), numbered(3)])


def test_jpeg_keeps_colour_edges_and_is_the_same_bytes_every_time() -> None:
    data = encode_jpeg(COLOUR)
    assert data == encode_jpeg(COLOUR.copy())
    again = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert np.abs(again.astype(int) - COLOUR).mean() < 4  # chroma subsampling alone would cost more


def test_only_whole_plain_jpegs_are_kept() -> None:
    data = encode_jpeg(COLOUR)
    kept = kept_jpeg(data, (128, 96))
    assert kept is not None and kept[0].shape == (96, 128, 3) and kept[1] == data
    assert kept_jpeg(data, (128, 192)) is None  # one field of two
    assert kept_jpeg(data[: len(data) // 2]) is None
    assert kept_jpeg(data.replace(b"\xff\xc4", b"\xff\xfe")) is None  # no Huffman tables
    assert kept_jpeg(b"") is None and kept_jpeg(b"\xff\xd8\xff\xd9") is None
    exif = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0"
    turned = data[:2] + b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif + data[2:]
    assert kept_jpeg(turned) is None


def test_only_plain_pngs_are_kept() -> None:
    def png(image: np.ndarray) -> bytes:
        return bytes(cv2.imencode(".png", image)[1].tobytes())

    assert kept_png(png(COLOUR)) is not None and kept_png(png(numbered(1))) is not None
    assert kept_png(png(numbered(1).astype(np.uint16))) is None
    assert kept_png(png(np.dstack([COLOUR, numbered(4)]))) is None
    assert kept_png(png(COLOUR)[:-30]) is None
