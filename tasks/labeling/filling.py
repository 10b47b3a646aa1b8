"""What a person only began, such as a box without its outline, completed by a model: as a prediction in Label Studio.

Nothing that a person drew is changed. Beside their annotation stands a prediction of the same labeling task, with all
that the annotation has and the completed objects in the place of those that were begun; the annotator takes it over,
corrects it, or leaves it. A frame with an object that is only begun is not learned from in the meantime.

A prediction's `model_version` names the model and the annotation, and its regions' ids begin with a digest of what was
asked: the same again makes nothing, and another model's answer takes the place of the older one.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from tasks.config import Line
from tasks.errors import DataError
from tasks.kind import Image, Kind, Object
from tasks.kind.images import read_image
from tasks.labeling.client import LabelStudio
from tasks.labeling.convert import objects_digest, to_regions
from tasks.lake import Lake
from tasks.lake.locks import lake_lock
from tasks.schemas import Frozen, Oid, Recording, digest

log = logging.getLogger(__name__)

Fill = Callable[[Image, Sequence[Object]], Sequence[Object]]
"""As `tasks.kind.Filling.fill`, of a loaded model."""

ReadOriginal = Callable[[Path], Any]
TO_FILL = "to_fill"
_MARK_DIGITS = 16
_COLUMNS = (
    "annotation_id", "revision_id", "state", "labeling_task_id", "recording_id", "frame_oid", "objects", "unread",
)  # fmt: skip


class FillReport(Frozen):
    """What a fill did.

    Attributes:
        model_version: Of the model that filled.
        annotations: Annotations with objects to fill.
        objects: Such objects.
        filled: Those that the model found an answer for, now or at an earlier time.
        predictions: Predictions made now.
        replaced: Older ones of ours that went.
        faults: Frames whose image cannot be read: [{labeling_task, reason}].
    """

    model_version: str
    annotations: int = 0
    objects: int = 0
    filled: int = 0
    predictions: int = 0
    replaced: int = 0
    faults: tuple[dict[str, str], ...] = ()


@dataclass(frozen=True)
class _Begun:
    """An annotation that has objects to fill."""

    annotation_id: str
    task_id: int
    recording_id: Oid
    frame_oid: Oid
    objects: tuple[Object, ...]

    @property
    def asked(self) -> list[Object]:
        return [item for item in self.objects if _is_begun(item)]

    def with_answers(self, answers: Sequence[Object]) -> list[Object]:
        """All objects of the annotation, in its order, the begun ones replaced."""
        rest = iter(answers)
        return [next(rest) if _is_begun(item) else item for item in self.objects]


def _is_begun(item: Object) -> bool:
    """Whether an object is to be filled; what holds many objects (`crowd`) is none that a model could fill as one."""
    return item.get(TO_FILL) is True and item.get("crowd") is not True


def fill_objects(
    lake: Lake, line: Line, kind: Kind, fill: Fill, model_version: str, read_original: ReadOriginal | None = None
) -> FillReport:
    """Put a model's answers for all begun objects before the annotators; twice is the same as once.

    Args:
        lake: Whose table of annotations is up to date: sync first.
        line: Whose labels.
        kind: Of the line.
        fill: The model's.
        model_version: In the registry.
        read_original: The model's own way to read a picture as it was taken, where its kind shows it such.

    Raises:
        ServiceUnavailable: Label Studio does not answer.
    """
    report = FillReport(model_version=model_version)
    with lake_lock(lake.settings, f"labels-{line.line}"), LabelStudio(lake.settings.label_studio) as client:
        for begun in _begun(lake, line):
            try:
                seen = partial(_seen, lake, line, kind, begun, read_original)
                done = _answer(client, line, kind, begun, seen, fill, model_version)
            except DataError as error:
                done = {"faults": ({"labeling_task": str(begun.task_id), "reason": str(error)},)}
            done |= {"annotations": 1, "objects": len(begun.asked)}
            report = report.model_copy(update={name: getattr(report, name) + more for name, more in done.items()})
    return report


def _begun(lake: Lake, line: Line) -> Iterator[_Begun]:
    """Annotations whose newest revision has objects to fill. The table keeps the order they were appended in."""
    newest: dict[str, dict[str, Any] | None] = {}
    rows = lake.tables.scan("annotations", {"line": line.line}, _COLUMNS)
    for batch in rows.to_batches(max_chunksize=1000):
        for row in batch.to_pylist():
            asks = row["state"] == "active" and row["unread"] is None and f'"{TO_FILL}"' in (row["objects"] or "")
            newest[row["annotation_id"]] = row if asks else None
    for row in filter(None, newest.values()):
        begun = _Begun(
            row["annotation_id"],
            row["labeling_task_id"],
            row["recording_id"],
            row["frame_oid"],
            tuple(json.loads(row["objects"])),
        )
        if begun.asked:
            yield begun


def _answer(
    client: LabelStudio,
    line: Line,
    kind: Kind,
    begun: _Begun,
    seen: Callable[[], Image],
    fill: Fill,
    model_version: str,
) -> dict[str, Any]:
    """Fill one annotation's objects; what to add to the report."""
    mark = digest("fill", model_version, begun.annotation_id, objects_digest(begun.objects))[:_MARK_DIGITS]
    there = [known for known in client.predictions(begun.task_id) if _is_ours(known, line, begun)]
    if any(mark in known.marks for known in there):
        return {"filled": len(begun.asked)}
    image = seen()
    height_px, width_px = image.shape[:2]
    answers = list(fill(image, begun.asked))
    regions = to_regions(kind, begun.with_answers(answers), width_px, height_px, mark, line=line)
    client.create_prediction(begun.task_id, regions, _named(line, begun, model_version))
    for known in there:  # last: killed in between, the annotator has one too many instead of none
        client.delete_prediction(known.prediction_id)
    filled = sum(answer.get(TO_FILL) is not True for answer in answers)
    return {"filled": filled, "predictions": 1, "replaced": len(there)}


def _seen(lake: Lake, line: Line, kind: Kind, begun: _Begun, read_original: ReadOriginal | None) -> Image:
    """What the model is shown: the picture as it was taken, where annotators are shown less of it; else their frame."""
    wanted = getattr(kind.filling, "original_of", None)
    if wanted and read_original:
        (recording,) = lake.tables.rows("recordings", Recording, {"recording_id": begun.recording_id})
        if oid := wanted(recording, line):
            original: Image = read_original(lake.blobs.fetch(oid))
            return original
    return read_image(lake.blobs.fetch(begun.frame_oid))


def _named(line: Line, begun: _Begun, model_version: str) -> str:
    return f"{line.line} version {model_version}{_suffix(begun)}"


def _suffix(begun: _Begun) -> str:
    return f", boxes of annotation {begun.annotation_id.rpartition('-')[2]}"


def _is_ours(known: Any, line: Line, begun: _Begun) -> bool:
    said: str = known.model_version
    return said.startswith(f"{line.line} version ") and said.endswith(_suffix(begun))
