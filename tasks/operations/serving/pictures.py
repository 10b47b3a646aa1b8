"""Uploads as images: decoded by processes of their own, as recordings are, within limits of their own."""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np

from tasks.config import IngestLimits, Settings
from tasks.errors import DataError, UnreadableRecording
from tasks.ingest.formats import is_picture
from tasks.ingest.single_picture import encode_png, stated_size
from tasks.ingest.streaming import FrameStream
from tasks.kind import Image

ReadOriginal = Callable[[Path, Callable[..., Image]], Image]
"""As predictors have it, see `tasks.kind.training.Layout`."""
_BLACK = encode_png(np.zeros((16, 16), np.uint8))


class NoPicture(DataError):
    """What was uploaded is nothing that can be looked at, by its first bytes."""


class TooManyPixels(DataError):
    """A picture claims more pixels than are taken."""


class Pictures:
    """Decodes uploads, some side by side. Its end ends the processes.

    Args:
        settings: `serve` limits a picture; `workers` are at work at once.
        channels: Of the line: which is what in a picture of several; empty: such a picture is refused.
    """

    def __init__(self, settings: Settings, channels: Mapping[str, int] | None = None) -> None:
        self._channels = channels
        most = settings.serve
        self._most_px = most.max_mpx * 1e6
        self._folder = settings.work_dir
        self._limits = IngestLimits(
            deadline_s=most.decode_s, deadline_s_per_mb=0, memory_mb=most.memory_mb, picture_mpx=most.max_mpx
        )
        # Threads of our own, which stay: a worker process ends with the thread that started it.
        self._count = settings.workers
        self._threads = ThreadPoolExecutor(self._count, "decode")
        self._mine = threading.local()
        self._streams: list[FrameStream] = []

    def decode(self, data: bytes, read_original: ReadOriginal | None = None) -> Future[Image]:
        """Have a picture decoded.

        Args:
            data: The upload.
            read_original: The model's own way to read a picture as it was taken, where it learned from such.

        Returns:
            Its pixels, BGR uint8 [height, width, 3], as a night would see them, or what `read_original` gives where
            they show less than the upload holds; or the exception: NoPicture, TooManyPixels, UnreadableRecording (the
            text names no path), StorageUnavailable.
        """
        return self._threads.submit(self._decode, data, read_original)

    def warm_up(self) -> None:
        """Start the processes, so that no request waits for them."""
        for done in [self.decode(_BLACK) for _ in range(self._count)]:
            done.result()

    def stop(self) -> None:
        """End the processes."""
        self._threads.shutdown(cancel_futures=True)
        for stream in self._streams:
            stream.stop()

    def _decode(self, data: bytes, read_original: ReadOriginal | None) -> Image:
        if not data:
            raise UnreadableRecording("the upload is empty (0 bytes)")
        if not is_picture(data[:32]):
            raise NoPicture("the upload is no picture, by its first bytes", expected="a PNG, JPEG, BMP, TIFF or WebP",
                            fix="export it as PNG")  # fmt: skip
        self._check_size(data)
        self._folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=self._folder) as file:  # without a name: nothing stays when we are killed
            file.write(data)
            file.flush()
            path = Path(f"/proc/{os.getpid()}/fd/{file.fileno()}")
            try:
                return self._read(path, read_original)
            except UnreadableRecording as error:
                reason = error.thing.partition("; to fix:")[0].partition("; export it again")[0]
                reason = reason.replace(f"picture {path.name}: ", "the upload ")
                raise UnreadableRecording(reason.replace(str(path), "the upload")) from error

    def _read(self, path: Path, read_original: ReadOriginal | None) -> Image:
        """The frame first, whatever is read of the file after it: within the limits it is one whole picture."""
        still = self._stream().still(path)
        if read_original is None or not (still.deep or self._channels):
            return still.image
        return read_original(path, self._stream().read)

    def _check_size(self, data: bytes) -> None:
        try:
            size = stated_size(data)
        except Exception:  # no header that can be read: the decoder says what is wrong
            return
        if size and size[0] * size[1] > self._most_px:
            raise TooManyPixels(
                f"the picture has {size[0]} x {size[1]} px",
                expected=f"at most {self._most_px / 1e6:g} million pixels",
                fix="cut out what is to be looked at",
            )

    def _stream(self) -> FrameStream:
        stream: FrameStream | None = getattr(self._mine, "stream", None)
        if stream is None:
            stream = self._mine.stream = FrameStream(self._limits, self._channels)
            self._streams.append(stream)
        return stream
