"""One picture file as a recording of one frame: what `stacks` reads of a still.

What a browser shows is kept as it is, as for folders of images. Anything else becomes a PNG: a still is the sample
itself, and not one of thousands of frames of a lossy video, so nothing is lost that JPEG would lose.
"""

from __future__ import annotations

import io
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image as Pillow
from PIL import ImageOps

from tasks.errors import UnreadableRecording
from tasks.ingest.calibration import Calibration
from tasks.ingest.colour import in_srgb
from tasks.ingest.images import Image, MediaType, claimed_size, decode_image, kept_jpeg, kept_png
from tasks.ingest.limits import Budget
from tasks.ingest.tiff_decoding import opaque
from tasks.schemas import STILL

_Page = npt.NDArray[Any]
_PNG = (int(cv2.IMWRITE_PNG_COMPRESSION), 3)


class SinglePicture:
    """A PNG, JPEG, BMP or WebP, read when asked for.

    Args:
        data: The file's bytes.
        budget: What it may ask of this machine.
    """

    container = STILL
    announced = 1
    calibration = Calibration(None, None)
    names: list[str] | None = None
    reversed_grey = False
    lossless = True

    def __init__(self, data: bytes, budget: Budget) -> None:
        self._data, self._budget = data, budget
        self._decoded: _Page | None = None
        self._kept: tuple[Image, tuple[bytes, MediaType]] | None = None
        self._looked = False
        self.codec = _codec(data)

    def __len__(self) -> int:
        return 1

    def admit(self, number: int) -> None:
        """Look at what the picture claims before it is decoded.

        Raises:
            UnreadableRecording: It is no whole picture, or too large.
        """
        size = stated_size(self._data)
        if size is None:
            raise UnreadableRecording(
                f"the picture ({self.codec}) is cut short or damaged", fix="copy it again from where it was taken"
            )
        self._budget.spend(*size, bytes_per_px=3)

    def page(self, number: int) -> _Page:
        """[h, w] or [h, w, 3] BGR in its own depth.

        Raises:
            UnreadableRecording: It does not decode.
        """
        kept = self.as_it_is(number)
        if kept is not None:  # decoded once, not twice
            return kept[0]
        if self._decoded is None:
            page = _webp(self._data) if self.codec == "webp" else decode_image(self._data)
            if page is None or not page.size:
                raise UnreadableRecording(
                    f"the picture ({self.codec}) does not decode", fix="copy it again from where it was taken"
                )
            self._decoded = page
        return self._decoded

    def as_it_is(self, number: int) -> tuple[Image, tuple[bytes, MediaType]] | None:
        """The picture and its file without metadata, where any browser can show that."""
        if not self._looked:
            self._looked = True
            jpeg = kept_jpeg(self._data)
            png = None if jpeg is not None else kept_png(self._data)
            if jpeg is not None:
                self._kept = jpeg[0], (jpeg[1], "image/jpeg")
            elif png is not None:
                self._kept = png[0], (png[1], "image/png")
        return self._kept


def stated_size(data: bytes) -> tuple[int, int] | None:
    """(width, height) that a picture's header states, before anything is decoded; None where it is no whole picture."""
    return _webp_size(data) if _codec(data) == "webp" else claimed_size(data)


def encode_png(image: Image) -> bytes:
    """A picture ([h, w] grey or [h, w, 3] BGR, uint8) as PNG; the same picture gives the same bytes."""
    done, data = cv2.imencode(".png", image, _PNG)
    if not done:
        raise ValueError(f"an image of shape {image.shape}, {image.dtype} cannot be a PNG")
    return data.tobytes()


def _codec(data: bytes) -> str:
    if data[:2] == b"BM":
        return "bmp"
    if data[:4] == b"RIFF":
        return "webp"
    return "png" if data[:4] == b"\x89PNG" else "jpeg"


def _webp_size(data: bytes) -> tuple[int, int] | None:
    try:
        with Pillow.open(io.BytesIO(data), formats=("WEBP",)) as image:  # reads the header, decodes nothing
            return image.size
    except (OSError, ValueError, SyntaxError):
        return None


def _webp(data: bytes) -> _Page | None:
    """A WebP as [h, w, 3] BGR, turned as it says and in the colours that a browser shows."""
    try:
        with Pillow.open(io.BytesIO(data), formats=("WEBP",)) as image:
            if getattr(image, "n_frames", 1) > 1:
                raise UnreadableRecording("is an animation", expected="one picture a file", fix="export its frames")
            profile = image.info.get("icc_profile")
            shown = np.asarray(ImageOps.exif_transpose(image).convert("RGBA"))
    except (OSError, ValueError, SyntaxError):
        return None
    opaque(shown)
    picture = np.ascontiguousarray(shown[..., 2::-1])
    return in_srgb(picture, profile) if profile else picture
