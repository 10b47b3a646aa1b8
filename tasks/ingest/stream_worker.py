"""The worker process of `tasks.ingest.streaming`: decodes one recording after the other, and hands each frame on.

A question is a line of JSON: a `Job`, and `every`. An answer is a row of messages, each a line of JSON, and the raw
pixels behind it where it is a frame:

    {"frame": 12, "pts_s": 0.4, "shape": [h, w, 3]}     then h * w * 3 bytes, BGR
    {"again": true}          the reader had to start anew: what came of this recording so far does not count
    {"end": true, "deep": false}   that was all of it; whether its file holds more than 8 bits a value
    {"reason": "..."}        it is unreadable
    {"machine": "..."}       this machine is short of something

Or it is {"what": path, "channels": {...}, "most": pages}, and the answer {"format": "still"} or "tiff": what a TIFF is.

Or it is {"read": path, "by": "module:function", "arguments": [...]}: that function reads a picture in its own way. The
answer is {"shape": [...], "dtype": "<u2"} and the values behind it, or {"reason": "..."}.

The pipe holds only a few frames: who reads slowly is waited for, and nothing piles up.
"""

from __future__ import annotations

import json
import math
import os
import sys
from importlib import import_module
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from tasks.ingest.images import Image, MediaType
from tasks.ingest.sampling import Pts
from tasks.ingest.worker import die_with, limit_memory


class _Pipe:
    """A sink that writes every n-th frame into a pipe."""

    takes_damaged = False
    done = False

    def __init__(self, out: BinaryIO, every: int) -> None:
        self._out, self._every, self._planned = out, every, False

    def say(self, **message: Any) -> None:
        """Write a message."""
        self._out.write(json.dumps(message).encode() + b"\n")
        self._out.flush()

    def plan(self, expected: Pts) -> None:
        """See `Sink.plan`; called again where a reader starts anew."""
        if self._planned:
            self.say(again=True)
        self._planned = True

    def wants(self, index: int, pts_s: float) -> bool:
        """See `Sink.wants`."""
        return index % self._every == 0

    def take(self, index: int, pts_s: float, image: Image, encoded: tuple[bytes, MediaType] | None = None) -> None:
        """See `Sink.take`."""
        shown = np.ascontiguousarray(np.repeat(image[..., None], 3, axis=2) if image.ndim == 2 else image)
        self.say(frame=index, pts_s=None if math.isnan(pts_s) else pts_s, shape=shown.shape)
        self._out.write(shown.data)
        self._out.flush()


def main() -> None:
    """Work until standard input ends; die with the parent."""
    if not die_with(int(sys.argv[1])):
        return
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever a library prints must not end up among the answers
    from tasks.ingest.reading import MACHINE_IS_SHORT, Job, decode

    limit_memory(int(sys.argv[2]))
    for line in sys.stdin:
        asked = json.loads(line)
        pipe = _Pipe(out, int(asked.get("every", 1)))
        if "read" in asked:
            _read(pipe, out, asked)
            continue
        if "what" in asked:
            pipe.say(format=_kind_of_tiff(Path(asked["what"]), asked["channels"], int(asked["most"])))
            continue
        try:
            found = decode(Job.from_data(asked["job"]), pipe)
        except BrokenPipeError:
            return
        except OSError as error:
            if error.errno not in MACHINE_IS_SHORT:
                raise
            pipe.say(machine=str(error))  # nothing the recording can be blamed for
            continue
        if isinstance(found, str):
            pipe.say(reason=found)
        else:
            pipe.say(end=True, deep=found[0].grey_low is not None)


def _read(pipe: _Pipe, out: BinaryIO, asked: dict[str, Any]) -> None:
    """Read a picture by a function that the question names: who asks is our parent, and the file is anybody's."""
    from tasks.errors import DataError

    module, _, name = asked["by"].partition(":")
    try:
        values = np.ascontiguousarray(getattr(import_module(module), name)(asked["read"], *asked["arguments"]))
    except DataError as error:
        pipe.say(reason=str(error))
        return
    pipe.say(shape=values.shape, dtype=values.dtype.str)
    out.write(values.data)
    out.flush()


def _kind_of_tiff(path: Path, channels: dict[str, int], most: int) -> str:
    from tasks.ingest.formats import Format
    from tasks.ingest.stacks import is_one_picture

    return (Format.STILL if is_one_picture(path, channels, most) else Format.TIFF).value


if __name__ == "__main__":
    main()
