"""How many time slots an AVI file has: its header counts them, and some are empty."""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO


def slots_in(path: Path, stream: int) -> int:
    """Count the chunks of a video stream that lie whole in the file, the empty ones included.

    An empty chunk says that the picture before it is shown on: a camera dropped a frame, or the writer counts finer
    time than there are pictures. Demuxers pass over them, also over those behind the last picture.

    Args:
        path: The file.
        stream: Its number among the streams of the file.

    Returns:
        The count up to the end of the file, or to where its chain of chunks is broken.
    """
    kinds = {f"{stream:02d}{kind}".encode() for kind in ("dc", "db", "DC", "DB")}
    with path.open("rb") as file:
        size, at, count = file.seek(0, os.SEEK_END), 0, 0
        while at + 12 <= size:
            file.seek(at)
            head = file.read(12)
            end = at + 8 + int.from_bytes(head[4:8], "little")
            if head[:4] != b"RIFF":
                break
            count += _in_list(file, at + 12, min(end, size), kinds)
            at = end + end % 2
        return count


def _in_list(file: BinaryIO, at: int, end: int, kinds: set[bytes]) -> int:
    count = 0
    while at + 8 <= end:
        file.seek(at)
        head = file.read(12)
        length = int.from_bytes(head[4:8], "little")
        if head[:4] == b"LIST" and head[8:12] in (b"movi", b"rec "):
            at += 12  # its chunks follow like any others
            continue
        if at + 8 + length > end or not head[:4].strip(b"\0"):
            break
        count += head[:4] in kinds
        at += 8 + length + length % 2
    return count
