"""Lines whose champion is a tiny classifier that has really learned something: of one class, and of several labels."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import yaml

from tasks import steps
from tasks.config import Settings
from tasks.ingest.phash import as_text, perceptual_hash
from tasks.lake import Lake
from tasks.promotion.journal import PendingPromotion, commit, promotion_lock
from tasks.schemas import STILL, Frame, NightState
from tasks.session import open_session
from tests.kinds.classification.pictures import CLASSES, TINY
from tests.operations.exporting import Champion
from tests.validation.factory import NOON, a_recording, an_annotation, fill

TRAIN, TEST = 12, 6
"""Pictures of each class."""
SIDE = 40


def make_classifier(settings: Settings, folder: Path, *, multi_label: bool) -> Champion:
    """Label discs, bars and empty pictures, learn them as a night does, and put the model in charge."""
    name = f"shapes-{uuid.uuid4().hex[:8]}"
    line = {
        "line": name, "kind": "classification", "classes": list(CLASSES), "multi_label": multi_label,
        "minimums": {"recordings": 3}, "frames": {"every_s": 1, "near_duplicate_bits": 0},
        "recipe": {"name": "from-scratch", **TINY, "epochs": 12},
        "evaluation": {"resamples": 100, "min_clusters": 2}, "gates": [{"metric": "balanced_accuracy", "at_least": 0}],
    }  # fmt: skip
    (folder / f"{name}.yaml").write_text(yaml.safe_dump(line))
    with open_session(settings.model_copy(update={"lines_dir": folder})) as session:
        session.lake.store.ensure_bucket()
        put_shapes(session.lake, name, multi_label=multi_label)
        validation = steps.validate_labels(session, name)
        version = steps.freeze_dataset(session, name, {}, validation.validation_oid).dataset_version
        training = steps.train_challenger(session, name, {}, version)
        with promotion_lock(session, name):
            order = PendingPromotion(
                line=name, action="promotion", key="k", outcome=NightState.PROMOTED, by="ana", note="no gates here",
                before=session.registry.aliases(name), model_version=training.model_version, override=True,
            )  # fmt: skip
            commit(session.lake, session.registry, order)
        record = session.registry.version(name, training.model_version)
        return Champion(settings, session.lake, session.registry, session.line(name), record, folder)


def put_shapes(lake: Lake, line: str, *, multi_label: bool) -> None:
    """Labelled pictures, each of a donor of its own; of several labels, some are missing."""
    random, recordings, frames, annotations = np.random.default_rng(0), [], [], []
    for number in range((TRAIN + TEST) * len(CLASSES)):
        shape = number % len(CLASSES)
        image = shape_on_clouds(CLASSES[shape], random)
        split = "train" if number < TRAIN * len(CLASSES) else "test"
        recording = a_recording(
            f"{line}-{CLASSES[shape]}-{number:03d}", number, donor=f"{line} {number}", pinned_split=split,
            container=STILL, frames_announced=1, frames_decoded=1, fps_hz=None,
        )  # fmt: skip
        frame = Frame(
            line=line, recording_id=recording.recording_id, frame_index=0,
            oid=lake.blobs.put_bytes(cv2.imencode(".png", image)[1].tobytes(), "image/png"), media_type="image/png",
            pts_s=None, width_px=image.shape[1], height_px=image.shape[0], phash=as_text(perceptual_hash(image)),
            reason="sampled", taken_at=NOON,
        )  # fmt: skip
        objects: list[dict[str, Any]] = [{"label": CLASSES[shape]}]
        if multi_label:
            objects = [{"label": name, "present": place == shape} for place, name in enumerate(CLASSES)
                       if (number + place) % 5]  # fmt: skip
        recordings.append(recording)
        frames.append(frame)
        annotations.append(an_annotation(frame, objects, number))
    fill(lake, recordings, frames, annotations)


def shape_on_clouds(shape: str, random: np.random.Generator) -> Any:
    """A bright disc, a bar, or nothing, on a dark cloudy ground that no other picture has; BGR."""
    clouds = random.integers(0, 90, (5, 6), dtype=np.uint8)
    image = cv2.cvtColor(cv2.resize(clouds, (SIDE + 8, SIDE), interpolation=cv2.INTER_CUBIC), cv2.COLOR_GRAY2BGR)
    x, y = (int(value) for value in random.integers(12, SIDE - 12, 2))
    if shape == "disc":
        cv2.circle(image, (x, y), 8, (230, 230, 230), -1)
    elif shape == "bar":
        cv2.rectangle(image, (x - 11, y - 2), (x + 11, y + 2), (230, 230, 230), -1)
    return image
