"""The images of a dataset's frames. What cannot be read is remembered, so that the report can name it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from functools import lru_cache, partial
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from tasks.errors import IntegrityError
from tasks.kind import Image
from tasks.kind.images import read_image
from tasks.lake import Lake
from tasks.leakage.frame_matching import descriptors
from tasks.schemas import Oid

log = logging.getLogger(__name__)

T = TypeVar("T")


class Frames:
    """Reads images for one report.

    Args:
        lake: Holds them.
    """

    def __init__(self, lake: Lake) -> None:
        self.damaged: dict[Oid, str] = {}
        """Frames that could not be read, and why not."""
        self._lake = lake
        self.in_small = lru_cache(maxsize=4096)(self._in_small)

    def paths(self, oids: Iterable[Oid]) -> dict[Oid, Path]:
        """Return local copies of the frames that are whole.

        Raises:
            NotFound: The lake does not hold one of them.
        """
        wanted = list(oids)
        try:
            return self._lake.blobs.fetch_many(wanted)
        except IntegrityError:
            one_by_one = ((oid, self._try(oid, partial(self._lake.blobs.fetch, oid))) for oid in wanted)
            return {oid: path for oid, path in one_by_one if path is not None}

    def image(self, oid: Oid, path: Path) -> Image | None:
        """Read a frame's image; None: it is damaged."""
        return self._try(oid, lambda: read_image(path))

    def _in_small(self, oid: Oid) -> npt.NDArray[np.float32] | None:
        """Return a frame in small and free of illumination, float32 [4096]; None: it is damaged."""
        return self._try(oid, lambda: np.asarray(descriptors(self._lake, [oid])[0], dtype=np.float32))

    def _try(self, oid: Oid, read: Callable[[], T]) -> T | None:
        try:
            return read()
        except IntegrityError as error:
            if oid not in self.damaged:
                log.warning("frame %s: left out of the exploration: %s", oid[:12], error)
            self.damaged[oid] = error.thing
            return None
