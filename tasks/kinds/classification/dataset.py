"""A dataset version on disk, as `layout.py` writes it and the training reads it.

<root>/<version>/dataset.json     an `ImageDataset`; what `Layout.materialise` returns
<root>/<version>/images/<name>    hard links into the blob cache
"""

from __future__ import annotations

from pathlib import Path

from tasks.schemas import Frozen, Split


class LabelledImage(Frozen):
    """One picture, and what is known of it.

    Attributes:
        file: Relative to the folder of `dataset.json`.
        split: Where it stands.
        group: Its donor or slide: pictures of one group are not independent of each other.
        targets: One for each class: 1 the class is there, 0 it is not, None nobody said.
    """

    file: str
    split: Split
    group: str
    targets: tuple[float | None, ...]


class ImageDataset(Frozen):
    """The pictures of one dataset version, in the manifest's order."""

    classes: tuple[str, ...]
    multi_label: bool
    images: tuple[LabelledImage, ...]

    @classmethod
    def read(cls, path: Path) -> ImageDataset:
        """Read a `dataset.json`."""
        return cls.model_validate_json(path.read_bytes())
