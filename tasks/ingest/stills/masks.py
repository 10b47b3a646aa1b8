"""Which picture files are the masks of others: labels lie among pictures, and are none.

    <id>/images/a.png, <id>/masks/*.png      a folder of masks beside one of pictures (the Data Science Bowl's layout)
    a.png, a_masks.png (a_mask, a_cp_masks)  a label image beside its picture (Cellpose's)

Only names are looked at. A folder of masks alone, or a file without its picture beside it, is taken as it is: then the
name is nothing but a name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from tasks.ingest.names import split_suffix

_MASKS = {"masks", "mask"}
_PICTURES = {"images", "image", "imgs", "img"}
_ENDING = re.compile(r"(?<=.)[-_](?:cp[-_]?)?masks?$", re.IGNORECASE)


def masks_among(paths: Iterable[str]) -> set[str]:
    """Those of picture files that are masks of others of them.

    Args:
        paths: Relative, with `/` between the parts.
    """
    parted = {path: path.split("/") for path in paths}
    holding = {
        tuple(parts[:depth])
        for parts in parted.values()
        for depth, part in enumerate(parts[:-1])
        if part.lower() in _PICTURES
    }
    stems = {(*parts[:-1], split_suffix(parts[-1])[0]) for parts in parted.values()}
    return {path for path, parts in parted.items() if _is_in_masks(parts, holding) or _has_picture(parts, stems)}


def _is_in_masks(parts: list[str], holding: set[tuple[str, ...]]) -> bool:
    return any(part.lower() in _MASKS and tuple(parts[:depth]) in holding for depth, part in enumerate(parts[:-1]))


def _has_picture(parts: list[str], stems: set[tuple[str, ...]]) -> bool:
    stem = split_suffix(parts[-1])[0]
    picture = _ENDING.sub("", stem)
    return picture != stem and (*parts[:-1], picture) in stems
