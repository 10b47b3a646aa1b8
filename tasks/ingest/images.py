"""A frame as a picture file: encoding, and recognising files that can be stored as they are.

Frames are kept as JPEG of quality 95 without chroma subsampling. Nearly all recordings come from lossy video, whose own
losses are many times larger; PNG would be three to five times the bytes for annotators to load and trainers to read.
What is a JPEG or an 8-bit PNG already (MJPEG packets, folders of images) is stored unchanged, hence without any loss.
"""

from __future__ import annotations

from typing import Literal

import cv2
import numpy as np
import numpy.typing as npt

Image = npt.NDArray[np.uint8]
MediaType = Literal["image/jpeg", "image/png"]

_QUALITY = (
    int(cv2.IMWRITE_JPEG_QUALITY), 95,
    int(cv2.IMWRITE_JPEG_SAMPLING_FACTOR), int(cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444),
)  # fmt: skip
_START_OF_FRAME = {0xC0, 0xC1, 0xC2}
_HUFFMAN_TABLES, _START_OF_SCAN = 0xC4, 0xDA


def encode_jpeg(image: Image) -> bytes:
    """A picture as JPEG; the same picture gives the same bytes.

    Args:
        image: [h, w] grey or [h, w, 3] BGR, uint8.
    """
    done, data = cv2.imencode(".jpg", image, _QUALITY)
    if not done:
        raise ValueError(f"an image of shape {image.shape}, {image.dtype} cannot be a JPEG")
    return data.tobytes()


def jpeg_as_it_is(data: bytes, size_px: tuple[int, int] | None = None) -> Image | None:
    """The decoded picture where `data` is a whole JPEG that any browser shows as it is; else None.

    MJPEG packets are not always that: some lack the Huffman tables (a common abbreviation in AVI), hold one field of
    two, or were cut; photos may need turning (EXIF). Those are decoded and encoded anew by the caller.

    Args:
        data: The file's bytes.
        size_px: The (width, height) that the picture must have.
    """
    if not _is_complete_jpeg(data):
        return None
    image = _decoded(data, cv2.IMREAD_COLOR)
    if image is None or (size_px is not None and (image.shape[1], image.shape[0]) != size_px):
        return None
    if b"Exif\0" in data[:4096]:
        unturned = _decoded(data, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
        if unturned is None or not np.array_equal(image, unturned):
            return None
    return image


def png_as_it_is(data: bytes) -> Image | None:
    """The decoded picture where `data` is a PNG of 8 bits, grey or RGB; else None."""
    header = data[:26]
    if len(header) < 26 or header[:8] != b"\x89PNG\r\n\x1a\n" or header[24] != 8 or header[25] not in (0, 2):
        return None
    return None if b"IEND" not in data[-16:] else _decoded(data, cv2.IMREAD_COLOR)


def decode_image(data: bytes) -> npt.NDArray[np.generic] | None:
    """Any picture file as [h, w] or [h, w, 3] BGR in its own depth (8 or 16 bit), turned as EXIF says; else None."""
    flags = cv2.IMREAD_ANYDEPTH | cv2.IMREAD_ANYCOLOR
    try:
        return cv2.imdecode(np.frombuffer(data, np.uint8), flags) if data else None
    except cv2.error:
        return None


def _decoded(data: bytes, flags: int) -> Image | None:
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error:
        return None
    return None if image is None else image.astype(np.uint8, copy=False)


def _is_complete_jpeg(data: bytes) -> bool:
    if data[:2] != b"\xff\xd8" or data.rfind(b"\xff\xd9") < 0:
        return False
    position, tables, frame = 2, False, False
    while position + 4 <= len(data) and data[position] == 0xFF:
        marker = data[position + 1]
        if marker == 0xFF:  # a fill byte
            position += 1
            continue
        if marker == _START_OF_SCAN:
            return tables and frame
        if marker in _START_OF_FRAME:
            # 8 bits a sample; grey or three components.
            frame = len(data) > position + 9 and data[position + 4] == 8 and data[position + 9] in (1, 3)
        tables = tables or marker == _HUFFMAN_TABLES
        position += 2 + int.from_bytes(data[position + 2 : position + 4], "big")
    return False
