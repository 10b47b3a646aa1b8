"""Turns failed checks into quarantine items: which thing, why, whose work it is."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tasks.config import Line
from tasks.schemas import Frame, Oid, QuarantineItem, Recording
from tasks.validation.inputs import Row
from tasks.validation.suites import CheckResult, SuiteResult

if TYPE_CHECKING:
    import pandas as pd


def reasons(result: SuiteResult, table: pd.DataFrame, row_id: str) -> dict[str, list[tuple[CheckResult, str]]]:
    """Row id -> the checks that row failed, each with its reason in words, in the suite's order."""
    bad = table[table[row_id].isin(list(result.failures))].drop_duplicates(row_id)
    rows = {str(row[row_id]): row for row in bad.to_dict("records")}
    return {
        row: [(check, check.reason.format_map(_Words(rows[row]))) for check in checks]
        for row, checks in result.failures.items()
    }


class _Words(dict[Any, Any]):
    """A row for filling in a reason; a column that is not there shows as such instead of hiding the reason."""

    def __missing__(self, key: Any) -> str:
        return f"?{key}?"


def recording_item(line: Line, recording: Recording, failed: Sequence[tuple[CheckResult, str]]) -> QuarantineItem:
    """A recording that this line may not use."""
    return QuarantineItem.of(
        "recording", recording.name, _joined(failed), line=line.line, recording_id=recording.recording_id,
        details=_details(failed, {}),
    )  # fmt: skip


def frame_item(
    line: Line, frame: Frame, recording: Recording, failed: Sequence[tuple[CheckResult, str]]
) -> QuarantineItem:
    """A frame that cannot be used."""
    return QuarantineItem.of(
        "frame", f"{recording.name} frame {frame.frame_index}", _joined(failed), line=line.line,
        recording_id=frame.recording_id, details=_details(failed, {"frame_oid": frame.oid}),
    )  # fmt: skip


def annotation_item(
    line: Line, annotation: Row, recordings: Mapping[Oid, Recording], failed: Sequence[tuple[CheckResult, str]]
) -> QuarantineItem:
    """An annotation that is set aside as a whole, so that its frame is not learnt from."""
    return QuarantineItem.of(
        "annotation", place(annotation, recordings), _joined(failed), line=line.line,
        recording_id=annotation["recording_id"], annotation_id=annotation["annotation_id"],
        annotator=annotation["annotator"] or None, details=_details(failed, {}),
    )  # fmt: skip


def object_item(
    line: Line, annotation: Row, number: int, recordings: Mapping[Oid, Recording],
    failed: Sequence[tuple[CheckResult, str]],
) -> QuarantineItem:  # fmt: skip
    """One object of an annotation. Its first fault is the reason: the others mostly follow from it.

    Args:
        line: The line.
        annotation: Whose object it is.
        number: Which, counted from 0; the subject counts from 1, for people.
        recordings: For the recording's name.
        failed: The checks it failed, and why.
    """
    thing = {key: _storable(value) for key, value in annotation["objects"][number].items()}
    return QuarantineItem.of(
        "object", f"{place(annotation, recordings)}, object {number + 1}", failed[0][1], line=line.line,
        recording_id=annotation["recording_id"], annotation_id=annotation["annotation_id"],
        annotator=annotation["annotator"] or None, details=_details(failed, {"object": thing}),
    )  # fmt: skip


def place(annotation: Row, recordings: Mapping[Oid, Recording]) -> str:
    """Where an annotation is, e.g. 'S_0001.mp4 frame 12' (frames count from 0)."""
    recording = recordings.get(annotation["recording_id"])
    name = recording.name if recording else f"recording {annotation['recording_id'][:12]}"
    return f"{name} frame {annotation['frame_index']}"


def _joined(failed: Iterable[tuple[CheckResult, str]]) -> str:
    return "; ".join(dict.fromkeys(reason for _, reason in failed))


def _details(failed: Sequence[tuple[CheckResult, str]], more: dict[str, Any]) -> dict[str, Any]:
    return {"checks": list(dict.fromkeys(check.check for check, _ in failed)), **more}


def _storable(value: Any) -> Any:
    """A value of an object as it may stand in a table: nothing infinite, and nothing nested, which may have no end."""
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    return value if value is None or isinstance(value, str | int) else f"a {type(value).__name__}"
