"""Nouns to fill tables with."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import pytest

from tasks.kinds.detection.boxes import Box
from tasks.schemas import Annotation, Frame, QuarantineItem, digest

AT = datetime(2026, 11, 20, 2, 0, 0, 123456, tzinfo=UTC)


@contextmanager
def before_tables_retired() -> Iterator[None]:
    """As when the tables that are only read any more were still written."""
    with pytest.MonkeyPatch.context() as then:
        then.setattr("tasks.lake.table_schemas.RETIRED", frozenset())
        yield


def frame(number: int, line: str = "sperm-detector") -> Frame:
    return Frame(
        line=line, recording_id=digest("recording"), frame_index=number, oid=digest("frame", number),
        media_type="image/jpeg", pts_s=number / 25, width_px=640, height_px=480, phash=f"{number:016x}",
        reason="sampled", taken_at=AT,
    )  # fmt: skip


def annotation(number: int, boxes: int = 2) -> Annotation:
    objects = tuple(
        Box(label="sperm", x_px=1.5 + n, y_px=0.1, width_px=10, height_px=1 / 3).model_dump() for n in range(boxes)
    )
    return Annotation(
        annotation_id=f"1-{number}", revision_id=digest("revision", number), line="sperm-detector",
        recording_id=digest("recording"), frame_index=number, frame_oid=digest("frame", number),
        labeling_task_id=number, state="active", annotator="ann@example.org", objects=objects,
        updated_at=AT, synced_at=AT,
    )  # fmt: skip


def item(number: int, line: str | None = None) -> QuarantineItem:
    return QuarantineItem.of("recording", f"clip {number}.mp4", "is empty", line=line, details={"bytes": number})
