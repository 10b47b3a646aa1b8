"""Labelled parts of frames, cut out and described once for each frame and its labels, and kept.

A dataset may have a hundred thousand labelled objects: of many frames so many are looked at that some thousands of
objects are among them, chosen by their hashes. A night that adds some frames looks at few new ones.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from tasks.exploration.frames import Frames
from tasks.exploration.looks import NOT_THERE_OR_DAMAGED, code_of, write_arrays
from tasks.kind import Kind, Part, Row
from tasks.lake import Lake
from tasks.schemas import Oid, digest

MOST_OBJECTS = 3_000
"""Labelled objects whose frames are looked at."""
_AT_ONCE = 64


def parts_of(lake: Lake, line: str, kind: Kind, rows: Sequence[Row], frames: Frames) -> list[tuple[int, Part]]:
    """Parts of a dataset's frames, each with its frame's place among the rows; empty where the kind has none.

    Args:
        lake: Whose cache keeps them.
        line: Whose; only for where the cache is.
        kind: Of the line.
        rows: Of the manifest; `objects` parsed.
        frames: Reads the frames; one that is damaged has no parts.

    Raises:
        NotFound: A frame is not in the lake.
    """
    look = getattr(kind.exploration, "parts", None)
    if look is None:
        return []
    path = lake.settings.cache_dir / "exploration" / f"{line}-parts-{code_of(kind, Path(__file__))}.npz"
    wanted = {_key(rows[place]): place for place in _chosen(rows)}
    known = {key: own for key, own in _kept(path).items() if key in wanted}
    missing = [key for key in wanted if key not in known]
    with ThreadPoolExecutor(lake.settings.workers) as threads:
        for start in range(0, len(missing), _AT_ONCE):
            some = missing[start : start + _AT_ONCE]
            own = [rows[wanted[key]] for key in some]
            paths = frames.paths(sorted({row["frame_oid"] for row in own}))

            def described(row: Row, paths: Mapping[Oid, Path] = paths) -> list[Part] | None:
                oid = row["frame_oid"]
                image = frames.image(oid, paths[oid]) if oid in paths else None
                return None if image is None else look(image, row["objects"])

            parts = zip(some, threads.map(described, own), strict=True)
            known.update((key, found) for key, found in parts if found is not None)
    if missing:
        _keep(path, known)
    return [(place, part) for key, place in wanted.items() for part in known.get(key, ())]


def _key(row: Row) -> str:
    return digest([row["frame_oid"], row["objects"]])


def _chosen(rows: Sequence[Row]) -> Iterable[int]:
    """Places of frames, in the order of their hashes, until they have objects enough."""
    objects = 0
    for place in sorted(range(len(rows)), key=lambda place: str(digest(rows[place]["frame_oid"]))):
        if objects >= MOST_OBJECTS:
            break
        objects += len(rows[place]["objects"])
        yield place


def _kept(path: Path) -> dict[str, list[Part]]:
    """What the cache holds; nothing where it is not there, or damaged."""
    try:
        with np.load(path, allow_pickle=False) as kept:
            keys, counts, labels = kept["keys"].tolist(), kept["counts"].tolist(), kept["labels"].tolist()
            boxes, features = kept["boxes_px"].tolist(), kept["features"].astype(np.float32)
    except NOT_THERE_OR_DAMAGED:
        return {}
    parts = iter([Part(*part) for part in zip(labels, map(tuple, boxes), features, strict=True)])
    return {key: [next(parts) for _ in range(count)] for key, count in zip(keys, counts, strict=True)}


def _keep(path: Path, known: dict[str, list[Part]]) -> None:
    parts = [part for own in known.values() for part in own]
    if parts:
        arrays = {
            "keys": np.array(list(known)),
            "counts": np.array([len(own) for own in known.values()]),
            "labels": np.array([part.label for part in parts]),
            "boxes_px": np.array([part.box_px for part in parts]),
            "features": np.stack([part.features for part in parts]).astype(np.float16),
        }
        write_arrays(path, arrays)
