"""Nights of a line that classifies pictures: probabilities that somebody forged are found, as boxes are."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tasks.config import Line, Settings
from tasks.evaluation.evaluate import stored_predictions
from tasks.evaluation.evaluation import load_evaluation
from tasks.evaluation.predict import LoadPredictor
from tasks.evidence import chain
from tasks.evidence.bundle import Bundle
from tasks.kind import ModelRef
from tasks.lake import Lake
from tasks.schemas import canonical_json
from tests.evaluation.world import World
from tests.evidence.world import Nights
from tests.kinds.classification.world import a_line, frames_of, outputs_for

PICTURES = 40
GATES = [{"metric": "balanced_accuracy", "at_least": 0.3}, {"metric": "ROC_AUC", "not_worse_by": 0.5}]


class Guessing:
    """A stand-in for a classifier: the probabilities that it was given for each picture."""

    device = "cpu"

    def __init__(self, outputs: dict[bytes, Any]) -> None:
        self._outputs = outputs

    def predict(self, images: Sequence[Any]) -> list[Any]:
        """Probabilities [classes] for each image."""
        return [self._outputs[np.asarray(image).tobytes()] for image in images]


class ClassifiedNights(Nights):
    """A line of pictures with three classes; a version's error blurs what it gives of each."""

    def make_line(self, name: str) -> tuple[Line, World]:
        """The line, and a dataset version of it: pictures to test with, and one to train on."""
        line = a_line(line=name, gates=GATES)
        self.pictures = frames_of(self.lake, line, PICTURES)
        every = [{**row, "media_type": "image/png", "annotation_id": str(number), "revision_id": "0" * 64}
                 for number, row in enumerate((*self.pictures, *frames_of(self.lake, line, 1, seed=1)))]  # fmt: skip
        every[-1] |= {"split": "train", "recording_id": "f" * 64, "group": f"recording:{'f' * 64}"}
        return line, World(line, self.lake.datasets.save(line.line, pa.Table.from_pylist(every), {}))

    def loader(self) -> LoadPredictor:
        """Stand-ins that lean to the truth, the less the larger their model's error."""

        def load(model: ModelRef, device: str | None) -> Guessing:
            outputs = outputs_for(self.pictures, self.line, 2.0 - 4 * model.options["error"], seed=3)
            read = (np.frombuffer(self.lake.blobs.get_bytes(row["frame_oid"]), np.uint8) for row in self.pictures)
            images = [cv2.imdecode(data, cv2.IMREAD_COLOR).tobytes() for data in read]
            return Guessing(dict(zip(images, outputs, strict=True)))

        return load


@pytest.fixture
def judged(lake: Lake, mlflow: Settings, tmp_path: Path) -> ClassifiedNights:
    """A first champion, and a second version that was compared with it."""
    nights = ClassifiedNights(lake, mlflow, tmp_path)
    nights.night("a" * 64)
    nights.night("b" * 64, error=0.3)
    return nights


def last(nights: Nights) -> Bundle:
    return chain.load(nights.lake, chain.entries(nights.lake, nights.line.line)[-1].bundle_oid)


def forged(table: pa.Table, pictures: list[dict[str, Any]]) -> bytes:
    """Predictions of which one picture's were touched: its true class and the one that was chosen change places."""
    rows, classes = table.to_pylist(), len(set(table.column("label").to_pylist()))
    for number, picture in enumerate(pictures):
        own = rows[number * classes : (number + 1) * classes]
        truth = json.loads(picture["objects"])[0]["label"]
        right, chosen = next(row for row in own if row["label"] == truth), max(own, key=lambda row: row["score"])
        if right is not chosen:
            right["score"], chosen["score"] = chosen["score"], right["score"]
            break
    else:
        raise AssertionError("no picture was wrong")
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows, table.schema), sink)
    return sink.getvalue()


def test_one_forged_probability_is_found_although_every_hash_fits(judged: ClassifiedNights) -> None:
    assert judged.verify().holds
    assert judged.verify(quick=True).checked["evaluations computed again"] == 2
    lake, bundle = judged.lake, last(judged)
    assert bundle.verdict is not None
    evaluation = load_evaluation(lake, bundle.verdict.evaluation_oid)
    data = forged(stored_predictions(lake, evaluation.challenger.predictions_oid), judged.pictures)
    challenger = evaluation.challenger.model_copy(update={"predictions_oid": lake.blobs.put_bytes(data)})
    touched = evaluation.model_copy(update={"challenger": challenger})
    oid = lake.blobs.put_bytes(canonical_json(touched.model_dump(mode="json")).encode())
    verdict = bundle.verdict.model_copy(update={"evaluation_oid": oid, "verdict_id": "forged"})
    lake.tables.append("verdicts", [verdict])
    judged.carry_out(verdict)

    findings = judged.verify(quick=True).findings
    assert any(finding.thing.startswith("numbers of verdict forged: ") for finding in findings), findings
    assert {(finding.cause, finding.bundles) for finding in findings} == {("changed", (3,))}


def test_probabilities_that_were_overwritten_where_they_stand_are_found(judged: ClassifiedNights) -> None:
    lake, bundle = judged.lake, last(judged)
    assert bundle.verdict is not None
    oid = load_evaluation(lake, bundle.verdict.evaluation_oid).challenger.predictions_oid
    data = forged(stored_predictions(lake, oid), judged.pictures)
    lake.store.put_bytes(lake.blobs.key(oid), data)
    findings = [finding for finding in judged.verify(quick=True).findings if oid in finding.thing]
    assert findings and {(finding.cause, finding.bundles) for finding in findings} == {("changed", (2,))}
