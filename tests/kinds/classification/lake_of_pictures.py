"""Labelled pictures in a lake, without Label Studio."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np

from tasks.ingest.phash import as_text, perceptual_hash
from tasks.kind import Object
from tasks.lake import Lake
from tasks.schemas import STILL, Annotation, Frame
from tests.ingest.clips import Image
from tests.ingest.stills.pictures import cell
from tests.validation.factory import NOON, a_recording, an_annotation


def as_png(image: Image) -> bytes:
    return bytes(cv2.imencode(".png", image)[1])


def put_picture(lake: Lake, name: str, image: Image, line: str = "heads", **changes: Any) -> Frame:
    """A still of this name, its frame as ingest would make it."""
    data = as_png(image)
    own: dict[str, Any] = {"container": STILL, "frames_announced": 1, "frames_decoded": 1, "fps_hz": None, **changes}
    recording = a_recording(name.rpartition(".")[0], 0, **own).model_copy(update={"name": name})
    frame = Frame(
        line=line, recording_id=recording.recording_id, frame_index=0, oid=lake.blobs.put_bytes(data, "image/png"),
        media_type="image/png", pts_s=None, width_px=image.shape[1], height_px=image.shape[0],
        phash=as_text(perceptual_hash(image)), reason="sampled", taken_at=NOON,
    )  # fmt: skip
    lake.tables.append("recordings", [recording])
    lake.tables.append("frames", [frame])
    return frame


def label(lake: Lake, frame: Frame, *objects: Object, by: str = "ann@lab", **changes: Any) -> Annotation:
    """Somebody's work on a picture."""
    number = int(hashlib.sha256(f"{frame.recording_id}{by}".encode()).hexdigest()[:8], 16)
    row = an_annotation(frame, list(objects), number, annotator=by, **changes)
    lake.tables.append("annotations", [row])
    return row


def fill(lake: Lake, classes: Sequence[Object], each: int = 3) -> None:
    """A few good pictures of each of these objects."""
    for number, item in enumerate([item for item in classes for _ in range(each)]):
        label(lake, put_picture(lake, f"good-{number}.png", cell(100 + number)), item)


def brighter(image: Image) -> Image:
    """The same picture, as another exposure and a JPEG would have it."""
    done, data = cv2.imencode(".jpg", np.clip(image.astype(float) * 1.05 + 6, 0, 255).astype(np.uint8))
    assert done
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), dtype=np.uint8)
