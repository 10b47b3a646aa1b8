"""Stills as they were taken: what models of this kind see where annotators are shown less.

A still of more than 8 bits, or of several channels, is shown to annotators as an 8-bit picture of the same pixels. We
learn from the still's own file, and are judged on it. Any other frame is what it is: of a recording, or of a still that
it shows value for value.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from tasks.kind import Row
from tasks.lake import Lake, Manifest
from tasks.schemas import Oid, Recording


def channels_of(manifest: Manifest) -> dict[str, int]:
    """The mapping of channels that the line had when a dataset version was frozen; empty: none."""
    channels: dict[str, int] = json.loads((manifest.rows.schema.metadata or {}).get(b"channels", b"{}"))
    return channels


def originals(lake: Lake, manifest: Manifest, rows: Sequence[Row]) -> list[Oid | None]:
    """For each of some rows of a manifest the blob of the picture as it was taken; None: its frame shows all of it."""
    mapped = bool(channels_of(manifest))
    ids = sorted({row["recording_id"] for row in rows})
    known = {one.recording_id: one for one in lake.tables.rows("recordings", Recording, {"recording_id": ids})}
    return [row["recording_id"] if shows_less(known.get(row["recording_id"]), mapped) else None for row in rows]


def shows_less(recording: Recording | None, mapped: bool) -> bool:
    """Whether a recording's frame shows less than its file holds."""
    return recording is not None and recording.is_still and (mapped or recording.grey_range is not None)
