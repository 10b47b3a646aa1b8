"""Files that are there whole or not at all, whoever is killed while he writes them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Write a file beside its place, and put it there when it is finished; its folder is made.

    Several processes may write the same file at once: each writes one of its own, and the last one stays.

    Args:
        path: Where the file will be; replaced if it is there.

    Yields:
        Where to write it; of the same suffix, since some libraries go by it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.stem}.{os.getpid()}.{os.urandom(4).hex()}{path.suffix}")
    try:
        yield part
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
