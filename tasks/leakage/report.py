"""The audit's report: one HTML file, readable offline and on paper, that shows each pair side by side.

It holds no date: the same findings give the same report, byte for byte.
"""

from __future__ import annotations

import base64
from collections import defaultdict
from collections.abc import Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np

from tasks.errors import DataError
from tasks.lake import Lake
from tasks.leakage.clear import Clear
from tasks.leakage.findings import WHAT, Audit, Finding, Side
from tasks.leakage.pair_id import CLEARABLE, Kind
from tasks.leakage.thumbnails import Viewer
from tasks.schemas import Oid

_TEMPLATE = Path(__file__).with_name("report.html.j2")
MOST_BYTES = 4_000_000
"""Of the report, pictures included."""
_LEAKS_SHOWN, _CLEARED_SHOWN, _RULED_OUT_SHOWN, _LISTED = 40, 40, 6, 500
_WIDTH_PX, _QUALITY = 440, 72
_ALL = 0.95  # of a picture's area
_DELETE = (
    "Delete the labels of the one in the test (or val) split in Label Studio, not those in train: a champion may have "
    "learned from them, and would know that test by heart."
)
_COPY = (
    f"If one of the two is a copy: {_DELETE} If both must stay, give both the same donor when they are added, which "
    "keeps them in one split."
)
ADVICE: dict[Kind, str] = {
    "group": "A donor or group keeps its split for ever. If these are two donors, they need two names: add the "
    "recordings again with the right donor.",
    "recording": "A recording belongs to one split. This cannot come from Nightscope's own splits: make the dataset "
    "version again.",
    "blob": f"Both frames are one and the same file. {_DELETE}",
    "frame": "If both come from one donor, state that when they are added: a donor stays in one split. If one is a "
    f"copy: {_DELETE}",
    "clip": _COPY,
    "crop": _COPY,
    "inconclusive": "It is not known whether one is a copy of the other. If a worker process died, run it again: it "
    f"checks again. Otherwise bring the recording back into the lake, or: {_DELETE}",
}


def render_report(lake: Lake, line: str, audit: Audit, viewer: Viewer | None) -> str:
    """Render the report.

    Args:
        lake: For pictures of the dataset's frames.
        line: Whose dataset was audited.
        audit: What was found.
        viewer: For pictures of other frames of recordings; None: the report does without them.
    """
    import jinja2

    leaks = _each_pair_first(audit.findings)[:_LEAKS_SHOWN]
    cleared = audit.cleared_by_people[:_CLEARED_SHOWN]
    ruled_out = audit.ruled_out[:_RULED_OUT_SHOWN]
    pictures = _pictures(lake, [*leaks, *(own.finding for own in cleared), *ruled_out], viewer)
    room = MOST_BYTES

    def shown(findings: Sequence[Finding], clears: Sequence[Clear | None] = ()) -> list[dict[str, Any]]:
        nonlocal room
        entries = []
        for finding, clear in zip_longest(findings, clears):
            sides = [
                (side, pictures.get((side.recording_id, side.frame_index), ""), _mark(side)) for side in _sides(finding)
            ]
            size = sum(len(picture) for _, picture, _ in sides)
            if size > room:
                sides, size = [(side, "", "") for side, _, _ in sides], 0
            room -= size
            clearable = finding.kind in CLEARABLE and audit.settled
            entries.append(
                {
                    "finding": finding,
                    "sides": sides,
                    "advice": ADVICE[finding.kind],
                    "decision": clear,
                    "clearable": clearable,
                }
            )
        return entries

    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    return environment.from_string(_TEMPLATE.read_text()).render(
        line=line,
        audit=audit,
        what=WHAT,
        kinds={kind: count for kind in WHAT if (count := sum(found.kind == kind for found in audit.findings))},
        leaks=shown(leaks),
        others=audit.findings[len(leaks) : _LISTED] if len(audit.findings) > len(leaks) else (),
        cleared=shown([own.finding for own in cleared], [own.clear for own in cleared]),
        other_cleared=audit.cleared_by_people[len(cleared) : _LISTED],
        ruled_out=shown(ruled_out),
    )


def _each_pair_first(findings: Sequence[Finding]) -> list[Finding]:
    """The findings, those of each kind and pair of recordings once before any of them twice."""
    seen: dict[Any, int] = defaultdict(int)
    ranked: list[tuple[int, int, Finding]] = []
    for finding in findings:
        key = (finding.kind, finding.pair)
        ranked.append((seen[key], len(ranked), finding))
        seen[key] += 1
    return [finding for _, _, finding in sorted(ranked, key=lambda own: own[:2])]


def _sides(finding: Finding) -> tuple[Side, Side]:
    return finding.one, finding.other


def _mark(side: Side) -> str:
    """Where in the picture the common part is, as CSS; empty where it is the whole."""
    left, top, right, bottom = side.region
    if (right - left) * (bottom - top) > _ALL:
        return ""
    sizes = {"left": left, "top": top, "width": right - left, "height": bottom - top}
    return "; ".join(f"{name}: {100 * size:.2f}%" for name, size in sizes.items())


def _pictures(lake: Lake, findings: Sequence[Finding], viewer: Viewer | None) -> dict[tuple[Oid, int], str]:
    """Pictures by recording and frame, as data URIs; what cannot be shown is not among them."""
    of_dataset: dict[tuple[Oid, int], Oid] = {}
    of_recordings: dict[Oid, set[int]] = defaultdict(set)
    for side in (side for finding in findings for side in _sides(finding)):
        if side.frame_oid is not None:
            of_dataset[side.recording_id, side.frame_index] = side.frame_oid
        else:
            of_recordings[side.recording_id].add(side.frame_index)
    found: dict[tuple[Oid, int], bytes] = {}
    for place, oid in of_dataset.items():
        try:
            found[place] = lake.blobs.get_bytes(oid)
        except DataError:
            continue
    if viewer is not None:
        found |= viewer.pictures({recording: sorted(own) for recording, own in of_recordings.items()})
    return {place: uri for place, data in found.items() if (uri := _small(data))}


def _small(data: bytes) -> str:
    import cv2

    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    if image is None:
        return ""
    height, width = image.shape[:2]
    scale = min(1.0, _WIDTH_PX / width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    made, jpeg = cv2.imencode(
        ".jpg", cv2.resize(image, size, interpolation=cv2.INTER_AREA), [cv2.IMWRITE_JPEG_QUALITY, _QUALITY]
    )
    return f"data:image/jpeg;base64,{base64.b64encode(jpeg.tobytes()).decode()}" if made else ""
