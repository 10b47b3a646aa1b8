"""Frames of a local file, one after the other, for who predicts on them: a recording of hours takes no more memory.

As for recordings that are taken in, a worker process decodes (`stream_worker`), within the limits of `IngestLimits`,
and may crash without more harm than that. It decodes ahead by what a pipe holds, and waits for who reads.
"""

from __future__ import annotations

import json
import math
import os
import select
import subprocess
import time
from collections.abc import Generator, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.config import IngestLimits
from tasks.errors import StorageUnavailable, UnreadableRecording
from tasks.ingest.formats import STILL_SUFFIXES, Format, format_of, supported
from tasks.ingest.images import Image
from tasks.ingest.names import split_suffix
from tasks.ingest.reading import Job, out_of_memory
from tasks.ingest.workers import OWN_BYTES, cause_of, memory_of, start_worker

_LOOK_EVERY_S = 0.25
_AT_ONCE = 2**20


@dataclass(frozen=True)
class StreamedFrame:
    """One frame.

    Attributes:
        frame_index: 0-based, in presentation order.
        pts_s: When it is shown; None where the file states no time.
        image: BGR, uint8, [height, width, 3].
    """

    frame_index: int
    pts_s: float | None
    image: Image


@dataclass(frozen=True)
class Still:
    """A file that is one picture.

    Attributes:
        image: As annotators see it: BGR, uint8, [height, width, 3].
        deep: Whether the file holds more than 8 bits a value, so that `image` shows less.
    """

    image: Image
    deep: bool


def format_to_read(name: str) -> Format:
    """How a local file is read, by its suffix: a video, a stack, a packed folder of images, or one picture.

    Raises:
        UnreadableRecording: By its suffix it is none of these.
    """
    found = format_of(name)
    if found not in (None, Format.STILLS):
        return found
    if split_suffix(name)[1].lower() in STILL_SUFFIXES:
        return Format.STILL
    raise UnreadableRecording(
        "its suffix is that of no picture and no recording", expected=supported() + ", .png, .jpg"
    )


class FrameStream:
    """A worker process that decodes files, one at a time. For one thread, which must live as long as it does.

    Args:
        limits: What one file may ask of this machine; `deadline_of` its size is how long it may stay silent.
        channels: Of a still of several channels, which is what; empty: nobody says it, and such a still is refused.
    """

    def __init__(self, limits: IngestLimits | None = None, channels: Mapping[str, int] | None = None) -> None:
        self._limits = limits or IngestLimits()
        self._channels = dict(channels or {})
        self._process: subprocess.Popen[bytes] | None = None
        self._waiting = b""

    def __enter__(self) -> FrameStream:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """End the worker process; the next question starts another."""
        process, self._process, self._waiting = self._process, None, b""
        if process is not None:
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    pipe.close()

    def format_of(self, path: Path) -> Format:
        """How a local file is read; as `format_to_read`, but a TIFF that holds one picture is one, and no stack.

        Pages that are channels by what the TIFF says are one picture. Where it does not say what its pages are, they
        are one picture if we know of channels, else a stack.

        Raises:
            UnreadableRecording: By its suffix it is no picture and no recording, or the decoder crashed on it.
        """
        kind = format_to_read(path.name)
        if kind is not Format.TIFF:
            return kind
        silent_s = self._limits.deadline_of(path.stat().st_size)
        process = self._asked({"what": str(path), "channels": self._channels, "most": self._limits.pictures})
        try:
            return Format(json.loads(self._line(process, silent_s))["format"])
        except BaseException:  # its answer, if it still comes, is none to the next question
            self.stop()
            raise

    def still(self, path: Path) -> Still:
        """A file that is one picture, decoded; raises as `frames`."""
        image, deep = None, False
        for message, shown in self._told(path, Format.STILL, 1):
            image = image if shown is None else shown
            deep = bool(message.get("deep", deep))
        if image is None:
            raise UnreadableRecording("holds no picture", fix="export it again")
        return Still(image, deep)

    def read(self, path: Path, by: str, *arguments: Any) -> NDArray[Any]:
        """What a function of ours reads of a local file, called in the worker process.

        Args:
            path: The function's first argument.
            by: 'module:function'; it returns an array, or raises a DataError that says what is wrong.
            arguments: Its others, JSON.

        Raises:
            UnreadableRecording: It says so, crashed, or takes more time or memory than it may.
        """
        silent_s = self._limits.deadline_of(path.stat().st_size)
        process = self._asked({"read": str(path), "by": by, "arguments": arguments})
        try:
            message = json.loads(self._line(process, silent_s))
            if "reason" not in message:
                dtype, shape = np.dtype(message["dtype"]), message["shape"]
                data = self._bytes(process, math.prod(shape) * dtype.itemsize, silent_s)
                return np.frombuffer(data, dtype).reshape(shape)
        except BaseException:  # its answer, if it still comes, is none to the next question
            self.stop()
            raise
        raise UnreadableRecording(message["reason"])

    def frames(self, path: Path, kind: Format, *, every: int = 1) -> Iterator[StreamedFrame | None]:
        """Every n-th frame of a file, in presentation order.

        Args:
            path: A local file.
            kind: What it must be; no other decoder gets to see it.
            every: 1: all frames.

        Yields:
            A frame; or None where the reader starts the file anew (a damaged video, or one whose brightness is known
            only midway): the frames of it so far do not count, and come again.

        Raises:
            UnreadableRecording: It cannot be read, is beyond the limits, or too little of it decodes: known only once
                all of it was read, perhaps after many frames.
            StorageUnavailable: This machine is short of something.
        """
        with closing(self._told(path, kind, every)) as told:
            for message, image in told:
                if "end" not in message:
                    yield StreamedFrame(message["frame"], message["pts_s"], image) if image is not None else None

    def _told(self, path: Path, kind: Format, every: int) -> Generator[tuple[dict[str, Any], Image | None]]:
        whole = False
        try:
            for message, image in self._messages(path, kind, every):
                if "end" in message:
                    whole = True
                elif "reason" in message:
                    whole = True
                    raise UnreadableRecording(message["reason"])
                elif "machine" in message:
                    whole = True
                    raise StorageUnavailable(f"{path.name}: {message['machine']}", fix="make room, and run it again")
                yield message, image
        finally:
            if not whole:  # nobody wants the rest
                self.stop()

    def _messages(self, path: Path, kind: Format, every: int) -> Iterator[tuple[dict[str, Any], Image | None]]:
        job = Job(str(path), kind, "", limits=self._limits, channels=self._channels)
        process = self._asked({"job": job.as_data(), "every": every})
        silent_s = self._limits.deadline_of(path.stat().st_size)
        while True:
            message: dict[str, Any] = json.loads(self._line(process, silent_s))
            image = None
            if "frame" in message:
                height, width, depth = message["shape"]
                data = self._bytes(process, height * width * depth, silent_s)
                image = np.frombuffer(data, np.uint8).reshape(height, width, depth)
            yield message, image
            if not message.keys() & {"frame", "again"}:
                return

    def _asked(self, asked: dict[str, Any]) -> subprocess.Popen[bytes]:
        question = (json.dumps(asked) + "\n").encode()
        if self._process is None or self._process.poll() is not None:
            self.stop()
            self._process = start_worker("tasks.ingest.stream_worker", self._limits)
        if self._process.stdin is not None:
            self._process.stdin.write(question)
        return self._process

    def _line(self, process: subprocess.Popen[bytes], silent_s: float) -> bytes:
        while b"\n" not in self._waiting:
            self._waiting += self._more(process, silent_s)
        line, _, self._waiting = self._waiting.partition(b"\n")
        return line

    def _bytes(self, process: subprocess.Popen[bytes], size: int, silent_s: float) -> bytearray:
        data = bytearray(self._waiting[:size])
        self._waiting = self._waiting[size:]
        while len(data) < size:
            more = self._more(process, silent_s)
            missing = size - len(data)
            data += more[:missing]
            self._waiting = more[missing:]
        return data

    def _more(self, process: subprocess.Popen[bytes], silent_s: float) -> bytes:
        """What the worker writes next.

        Raises:
            UnreadableRecording: It died of the file, stays silent, or grows too large.
        """
        until = time.monotonic() + silent_s
        out = process.stdout
        while out is not None:
            if select.select([out], [], [], _LOOK_EVERY_S)[0]:
                if more := os.read(out.fileno(), _AT_ONCE):
                    return more
                raise UnreadableRecording(f"the decoder crashed on it ({cause_of(process.wait())}); export it again")
            if time.monotonic() > until:
                raise UnreadableRecording(
                    f"reading it took longer than {silent_s:.0f} s; export it again, or raise "
                    "NIGHTSCOPE_INGEST__DEADLINE_S"
                )
            if memory_of(process) > self._limits.memory_mb * 2**20 + OWN_BYTES:
                raise UnreadableRecording(out_of_memory(self._limits))
        raise UnreadableRecording("the decoder has ended")
