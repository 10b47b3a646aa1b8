"""Frames of a local file, one after the other, for who predicts on them: a recording of hours takes no more memory.

As for recordings that are taken in, a worker process decodes (`stream_worker`), within the limits of `IngestLimits`,
and may crash without more harm than that. It decodes ahead by what a pipe holds, and waits for who reads.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

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
    """

    def __init__(self, limits: IngestLimits | None = None) -> None:
        self._limits = limits or IngestLimits()
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
                else:
                    yield StreamedFrame(message["frame"], message["pts_s"], image) if image is not None else None
        finally:
            if not whole:  # nobody wants the rest
                self.stop()

    def _messages(self, path: Path, kind: Format, every: int) -> Iterator[tuple[dict[str, Any], Image | None]]:
        process = self._asked(
            Job(str(path), kind, "", limits=self._limits, channels={}), every
        )  # nobody says what is what
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

    def _asked(self, job: Job, every: int) -> subprocess.Popen[bytes]:
        question = (json.dumps({"job": job.as_data(), "every": every}) + "\n").encode()
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
