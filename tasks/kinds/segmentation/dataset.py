"""A dataset version on disk, as `layout.py` writes it and the training reads it.

<root>/<version>/dataset.json     a `CellDataset`; what `Layout.materialise` returns
<root>/<version>/images/<name>    hard links into the blob cache
<root>/<version>/cells/<n>.json   the objects of image n (`objects.py`), filled ones alone
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from numpy.typing import NDArray
from pydantic import Field

from tasks.kind import Object
from tasks.schemas import Frozen, Split


class LabelledPicture(Frozen):
    """One picture, and where its cells stand.

    Attributes:
        file: Relative to the folder of `dataset.json`.
        cells: As `file`: JSON, the picture's objects.
        split: Where it stands.
        group: Its donor or slide: pictures of one group are not independent of each other.
        height_px: Of the frame that was labelled.
        width_px: As `height_px`.
        original: The file is the picture as it was taken, in its own depth and channels; else the frame that
            annotators see.
    """

    file: str
    cells: str
    split: Split
    group: str
    height_px: int
    width_px: int
    original: bool = False


class CellDataset(Frozen):
    """The pictures of one dataset version, in the manifest's order.

    `channels` says what of a picture with more than three channels the network is shown, see `pictures.py`.
    """

    classes: tuple[str, ...]
    channels: dict[str, int] = Field(default_factory=dict)
    images: tuple[LabelledPicture, ...]

    @classmethod
    def read(cls, path: Path) -> CellDataset:
        """Read a `dataset.json`."""
        return cls.model_validate_json(path.read_bytes())

    def picture(self, root: Path, picture: LabelledPicture) -> NDArray[Any]:
        """The pixels of a picture as `pictures.prepare` takes them, [h, w, 1 or 3]; `root` as below."""
        from tasks.kinds.segmentation.pictures import read_picture

        return read_picture(root / picture.file, self.channels if picture.original else None)

    def objects(self, root: Path, picture: LabelledPicture) -> list[Object]:
        """The cells of a picture; `root` is the folder of `dataset.json`."""
        found: list[Object] = json.loads((root / picture.cells).read_bytes())
        return found
