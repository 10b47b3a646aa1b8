"""How much one recording may ask of this machine: the budget of its pictures, counted before they are decoded.

A few kilobytes can claim, or inflate to, more than any memory holds. What a picture claims is in its header, and is
looked at first. Time and memory are watched from outside (`tasks.ingest.workers`), whatever the decoder does.
"""

from __future__ import annotations

from tasks.config import IngestLimits
from tasks.errors import UnreadableRecording

FREE_BYTES = 2**29
"""So much may come out of any file, however small it is: a few empty pictures compress to nearly nothing."""


class Budget:
    """What a recording may still decode.

    Args:
        limits: The settings.
        file_bytes: The recording's size.
    """

    def __init__(self, limits: IngestLimits, file_bytes: int) -> None:
        self._limits = limits
        self._file_bytes = file_bytes
        self._pictures = 0
        self._pixels = 0
        self._bytes = 0

    def spend(self, width_px: int, height_px: int, *, pictures: int = 1, bytes_per_px: float = 1.0) -> None:
        """Count pictures of a size, before they are decoded.

        Raises:
            UnreadableRecording: A picture, or all of them together, are beyond the limits.
        """
        limits, pixels = self._limits, width_px * height_px
        if pixels > limits.picture_mpx * 1e6:
            raise UnreadableRecording(
                f"a picture of {width_px} x {height_px} px is too large",
                expected=f"at most {limits.picture_mpx:g} million pixels",
                fix="crop or shrink it, or raise NIGHTSCOPE_INGEST__PICTURE_MPX",
            )
        self._pictures += pictures
        self._pixels += pixels * pictures
        self.inflate(pixels * pictures * bytes_per_px)
        if self._pixels > limits.recording_gpx * 1e9:
            raise UnreadableRecording(
                f"its pictures have {self._pixels / 1e9:.0f} thousand million pixels together",
                expected=f"at most {limits.recording_gpx:g}",
                fix="split the recording, or raise NIGHTSCOPE_INGEST__RECORDING_GPX",
            )
        self.count(self._pictures)

    def count(self, pictures: int) -> None:
        """Look at a number of pictures (or of entries, pages).

        Raises:
            UnreadableRecording: They are too many.
        """
        if pictures > self._limits.pictures:
            raise UnreadableRecording(
                f"it holds {pictures} pictures or more",
                expected=f"at most {self._limits.pictures}",
                fix="split the recording, or raise NIGHTSCOPE_INGEST__PICTURES",
            )

    def inflate(self, out_bytes: float) -> None:
        """Count bytes that will come out of the file.

        Raises:
            UnreadableRecording: More than anything honest would: it is a decompression bomb, or damaged.
        """
        self._bytes += int(out_bytes)
        if self._bytes > max(FREE_BYTES, self._limits.expansion * self._file_bytes):
            raise UnreadableRecording(
                f"it claims to hold at least {self._bytes / 2**20:.0f} MiB of pictures in {self._file_bytes} bytes:"
                " damage, or a decompression bomb",
                expected=f"at most {self._limits.expansion} times its size",
                fix="export it again, or raise NIGHTSCOPE_INGEST__EXPANSION",
            )
