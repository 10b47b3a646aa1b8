"""Explore a dataset version: look at its frames, write the page, keep it beside the version."""

from __future__ import annotations

import json
import logging
from typing import Any

from tasks.config import Line
from tasks.exploration.appearance import extremes_of, frame_name, histograms_of
from tasks.exploration.balance import balance_of
from tasks.exploration.duplicates import find_duplicates
from tasks.exploration.frames import Frames
from tasks.exploration.looks import looks_of
from tasks.exploration.parts import parts_of
from tasks.exploration.report import Content, render
from tasks.kind import Kind, Row, Section, ShownFrame
from tasks.lake import Lake, Manifest
from tasks.schemas import Frozen, Oid, digest, now

log = logging.getLogger(__name__)

ATTACHED = "exploration"
"""The document beside a version that names its report."""
_SAMPLES = 12


class Explored(Frozen):
    """A report that is kept beside its dataset version."""

    line: str
    dataset_version: Oid
    report_oid: Oid
    frames: int
    groups: int
    labels: dict[str, int]
    notes: tuple[str, ...]
    exact_duplicates: int
    near_duplicates: int
    labels_to_check: int | None
    """How many labels a person should look at; None: the kind looks for none."""
    damaged: tuple[Oid, ...] = ()
    """Frames that could not be read: the report names them, and measures and shows the others."""
    at: str


def explore(lake: Lake, line: Line, kind: Kind, manifest: Manifest, *, again: bool = False) -> Explored:
    """Write the exploration report of a dataset version, unless it is there.

    Args:
        lake: Holds the frames, and gets the report.
        line: Whose classes count.
        kind: Of the line.
        manifest: The dataset version.
        again: Write it anew.
    """
    kept = None if again else explored(lake, line.line, manifest.version)
    if kept is not None:
        return kept
    rows = [{**row, "objects": json.loads(row["objects"] or "[]")} for row in manifest.rows.to_pylist()]
    rows.sort(key=lambda row: (row["recording_name"], row["recording_id"], row["frame_index"]))
    frames = Frames(lake)
    content = _content(lake, line, kind, manifest, rows, frames)
    html = render(frames, content)
    checked = [section.to_check for section in content.sections if section.to_check is not None]
    made = Explored(
        line=line.line,
        dataset_version=manifest.version,
        report_oid=lake.blobs.put_bytes(html.encode(), "text/html; charset=utf-8"),
        frames=len(rows),
        groups=content.balance.all_groups,
        labels=content.balance.labels,
        notes=content.balance.notes,
        exact_duplicates=len(content.duplicates.exact),
        near_duplicates=len(content.duplicates.near),
        labels_to_check=sum(checked) if checked else None,
        damaged=tuple(sorted(frames.damaged)),
        at=now().isoformat(),
    )
    lake.datasets.attach(line.line, manifest.version, ATTACHED, made.model_dump(mode="json"))
    return made


def explored(lake: Lake, line: str, version: str) -> Explored | None:
    """What is kept of a version's exploration; None where there is nothing, or its report is gone."""
    content: dict[str, Any] | None = lake.datasets.attached(line, version, ATTACHED)
    if content is None:
        return None
    found = Explored.model_validate(content)
    return found if lake.blobs.exists(found.report_oid) else None


def _content(lake: Lake, line: Line, kind: Kind, manifest: Manifest, every: list[Row], frames: Frames) -> Content:
    looks = looks_of(lake, line.line, kind, [row["frame_oid"] for row in every], frames)
    rows = [row for row in every if row["frame_oid"] not in frames.damaged]
    classes, counted = tuple(line.classes), kind.checks.counted
    if kind.exploration is not None:
        sections = kind.exploration.sections(rows, looks.features, line)
        show = getattr(kind.exploration, "part_sections", None)
        if show is not None and (parts := parts_of(lake, line.line, kind, rows, frames)):
            sections += show(rows, parts, line)
    else:
        sections = [_samples(rows, classes, kind)]
    return Content(
        line=line,
        version=manifest.version,
        created_at=str(manifest.about.get("created_at", ""))[:16].replace("T", " "),
        rows=rows,
        every=every,
        balance=balance_of(every, classes, counted),
        sections=sections,
        duplicates=find_duplicates(rows, looks.phash, counted, frames.in_small),
        histograms=histograms_of(rows, looks, classes, counted),
        extremes=extremes_of(rows, looks),
        warnings=[str(text) for text in manifest.about.get("warnings", ())],
    )


def _samples(rows: list[Row], classes: tuple[str, ...], kind: Kind) -> Section:
    """Whole frames of each class, for kinds that have no better."""
    shown = []
    for name in classes:
        own = [row for row in rows if any(item["label"] == name for item in kind.checks.counted(row["objects"]))]
        own.sort(key=lambda row: digest(row["frame_oid"], name))
        shown += [
            ShownFrame(frame_oid=row["frame_oid"], caption=f"{name}: {frame_name(row)}") for row in own[:_SAMPLES]
        ]
    return Section(title="Samples of each class", frames=tuple(shown))
