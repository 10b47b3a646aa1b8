"""Folders of images packed into one file: a recording is one object in the landing bucket."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Sequence
from pathlib import Path

from tasks.ingest.names import natural_key

SUFFIX = ".frames.zip"
_NO_TIME = (1980, 1, 1, 0, 0, 0)


def pack(images: Sequence[Path], target: Path) -> None:
    """Write images, in natural order of their names, into a ZIP that is the same bytes for the same images.

    Stored, not compressed: images are compressed already, and single ones can be read in place. Neither times nor
    permissions get in.
    """
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        for image in sorted(images, key=lambda path: natural_key(path.name)):
            entry = zipfile.ZipInfo(image.name.encode("utf-8", "replace").decode(), date_time=_NO_TIME)
            entry.external_attr = 0o644 << 16
            entry.create_system = 3
            entry.file_size = image.stat().st_size
            with image.open("rb") as source, archive.open(entry, "w") as packed:
                shutil.copyfileobj(source, packed, 2**20)
