"""What tests need to play an annotator: lines, recordings with frames, boxes, and Label Studio's REST API."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from io import BytesIO
from typing import Any

import httpx
from PIL import Image, ImageDraw

from tasks.config import LabelStudioSettings, Line, parse_line
from tasks.kinds import kind_of
from tasks.labeling.client import LabelStudio
from tasks.labeling.convert import to_regions
from tasks.lake import Lake
from tasks.schemas import Frame, Recording, now

DETECTION = kind_of("detection")

WIDTH_PX, HEIGHT_PX = 698, 528


def a_line(name: str = "sperm-detector", **changes: Any) -> Line:
    """A line with the classes sperm and impurity."""
    data = {
        "line": name,
        "title": "Sperm detection",
        "kind": "detection",
        "classes": {
            "sperm": {"hotkey": "s", "color": "#1f9d6b", "aliases": ["S"]},
            "impurity": {"hotkey": "i", "color": "#c2571a"},
        },
        "recipe": {"name": "detection-from-scratch"},
        "gates": [{"metric": "AP50", "class": "sperm", "at_least": 0.6}],
    }
    return parse_line(data | changes, name)


def a_recording(name: str = "S_0001.mp4", frames: int = 10, **changes: Any) -> Recording:
    """A recording that nobody filmed; its id follows from its name and study."""
    fields: dict[str, Any] = {
        "recording_id": hashlib.sha256(f"{name}{changes.get('study')}".encode()).hexdigest(),
        "name": name,
        "stem": name.rsplit(".", 1)[0],
        "landing_key": f"unsorted/{name}",
        "container": "mp4",
        "codec": "h264",
        "width_px": WIDTH_PX,
        "height_px": HEIGHT_PX,
        "fps_hz": 30.0,
        "frames_announced": frames,
        "frames_decoded": frames,
        "pts_oid": "0" * 64,
        "size_bytes": 1000,
        "ingested_at": now(),
    }
    return Recording(**fields | changes)


def picture(index: int, size_px: tuple[int, int] = (WIDTH_PX, HEIGHT_PX)) -> bytes:
    """A frame's JPEG with its number on it."""
    image = Image.new("RGB", size_px, (40, 60 + index % 100, 90))
    ImageDraw.Draw(image).text((20, 20), f"frame {index}", fill="white")
    ImageDraw.Draw(image).ellipse((100, 100, 130, 120), fill="white")
    target = BytesIO()
    image.save(target, "JPEG")
    return target.getvalue()


def take_frames(
    lake: Lake,
    recording: Recording,
    line: str,
    indices: Sequence[int],
    size_of: Callable[[int], tuple[int, int]] | None = None,
) -> list[Frame]:
    """Stand-in for `tasks.ingest.frames.take_frames`: frames that are drawn, not decoded; `size_of` each, in pixels."""
    sizes = {index: size_of(index) if size_of else (recording.width_px, recording.height_px) for index in indices}
    frames = [
        Frame(
            line=line,
            recording_id=recording.recording_id,
            frame_index=index,
            oid=lake.blobs.put_bytes(picture(index, sizes[index]), "image/jpeg"),
            media_type="image/jpeg",
            pts_s=index / 30,
            width_px=sizes[index][0],
            height_px=sizes[index][1],
            phash="0" * 16,
            reason="sampled",
            taken_at=now(),
        )
        for index in indices
    ]
    lake.tables.append("frames", frames)
    return frames


def film(lake: Lake, line: Line, name: str = "S_0001.mp4", frames: int = 3, of: int = 10, **changes: Any) -> Recording:
    """A recording in the lake, of whose `of` frames the first `frames` are to be labelled."""
    recording = a_recording(name, of, **changes)
    lake.tables.append("recordings", [recording])
    if frames:
        take_frames(lake, recording, line.line, range(frames))
    return recording


def box(x_px: float, y_px: float, label: str = "sperm", side_px: float = 16.0) -> dict[str, Any]:
    """One object of a detection line."""
    return {"label": label, "x_px": x_px, "y_px": y_px, "width_px": side_px, "height_px": side_px}


def regions(*boxes: dict[str, Any], mark: str = "r") -> list[dict[str, Any]]:
    """Boxes as an annotator draws them."""
    return to_regions(DETECTION, boxes, WIDTH_PX, HEIGHT_PX, mark)


def project_of(client: LabelStudio, line: Line) -> int:
    """The id of the line's project; there must be exactly one."""
    found = [number for number, description in client.projects() if f"[nightscope-line:{line.line}]" in description]
    assert len(found) == 1, found
    return found[0]


def labeling_tasks(client: LabelStudio, line: Line) -> dict[int, int]:
    """Frame index -> labeling task id, in the line's project."""
    heads = list(client.task_heads(project_of(client, line)))
    found = {head.data["frame_index"]: head.task_id for head in heads}
    assert len(found) == len(heads), "a frame has several labeling tasks"
    return found


class Annotator:
    """Label Studio's REST API as an annotator's browser uses it."""

    def __init__(self, settings: LabelStudioSettings) -> None:
        token = settings.token.get_secret_value()
        self._http = httpx.Client(base_url=settings.url, headers={"Authorization": f"Token {token}"}, timeout=60)

    def draw(self, task_id: int, *boxes: dict[str, Any], skip: bool = False) -> int:
        """Submit (or skip with) an annotation; its id."""
        body = {"result": regions(*boxes), "was_cancelled": skip}
        return int(self._call("POST", f"/api/tasks/{task_id}/annotations/", json=body)["id"])

    def submit(self, task_id: int, result: list[dict[str, Any]]) -> int:
        """Submit regions as they are; the annotation's id."""
        return int(self._call("POST", f"/api/tasks/{task_id}/annotations/", json={"result": result})["id"])

    def submit_text(self, task_id: int, result: str) -> int:
        """Submit a `result` as JSON text, which Python could not write; the annotation's id."""
        headers = {"Content-Type": "application/json"}
        path = f"/api/tasks/{task_id}/annotations/"
        return int(self._call("POST", path, content=f'{{"result": {result}}}', headers=headers)["id"])

    def suggest(self, task_id: int, model_version: str) -> None:
        """Put a prediction, of nothing, before the annotators, as a lab's own program would."""
        self._call("POST", "/api/predictions/", json={"task": task_id, "result": [], "model_version": model_version})

    def suggestions(self, task_id: int) -> list[dict[str, Any]]:
        """The predictions that an annotator sees."""
        return list(self._call("GET", f"/api/tasks/{task_id}/")["predictions"])

    def change(self, annotation_id: int, **fields: Any) -> None:
        """Change fields of an annotation, e.g. `ground_truth`, or its `result` as it is."""
        self._call("PATCH", f"/api/annotations/{annotation_id}/", json=fields)

    def configure(self, project_id: int, label_config: str) -> None:
        """Edit the labeling interface in the project's settings."""
        self._call("PATCH", f"/api/projects/{project_id}/", json={"label_config": label_config})

    def redraw(self, annotation_id: int, *boxes: dict[str, Any], **fields: Any) -> None:
        """Change an annotation."""
        body = {"result": regions(*boxes), **fields}
        self._call("PATCH", f"/api/annotations/{annotation_id}/", json=body)

    def keep_draft(self, task_id: int, *boxes: dict[str, Any]) -> None:
        """Leave a draft behind."""
        self._call("POST", f"/api/tasks/{task_id}/drafts", json={"result": regions(*boxes)})

    def erase(self, annotation_id: int) -> None:
        """Delete an annotation."""
        self._call("DELETE", f"/api/annotations/{annotation_id}/")

    def erase_all(self, project_id: int, task_ids: Sequence[int], what: str = "delete_tasks_annotations") -> None:
        """Run one of the data manager's bulk actions."""
        body = {"selectedItems": {"all": False, "included": list(task_ids)}}
        self._call("POST", f"/api/dm/actions?id={what}&project={project_id}", json=body)

    def remove_task(self, task_id: int) -> None:
        """Delete a labeling task."""
        self._call("DELETE", f"/api/tasks/{task_id}/")

    def _call(self, method: str, path: str, **options: Any) -> Any:
        response = self._http.request(method, path, **options)
        response.raise_for_status()
        return response.json() if response.content else None
