"""A network that was really trained, evaluated: predictions, forgeries of them, and the report with its saliency."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from tasks.evaluation.evaluate import evaluate, recompute, stored_predictions
from tasks.evaluation.report import Judged, render_stored
from tasks.gates.decide import decide
from tasks.kind import ModelRef
from tasks.kinds.classification.dataset import ImageDataset
from tasks.lake import Lake
from tests.kinds.classification.pictures import CLASSES, TINY, job, of, train_here, write_dataset
from tests.kinds.classification.world import KIND, a_line

pytestmark = pytest.mark.integration


def test_a_trained_network_is_judged_shown_and_measured_again(lake: Lake, tmp_path: Path) -> None:
    data = write_dataset(tmp_path / "data")
    line = a_line(classes=list(CLASSES), gates=[{"metric": "balanced_accuracy", "not_worse_by": 0.1}])
    rows = []
    for number, each in enumerate(ImageDataset.read(data).images):
        label = CLASSES[[target == 1 for target in each.targets].index(True)]
        png = (data.parent / each.file).read_bytes()
        rows.append(
            {
                "split": each.split, "group": f"recording:{number:064x}", "recording_id": f"{number:064x}",
                "recording_name": f"{number}.png", "frame_index": 0, "media_type": "image/png", "pts_s": None,
                "frame_oid": lake.blobs.put_bytes(png, "image/png"), "width_px": 48, "height_px": 40,
                "annotation_id": str(number), "revision_id": "0" * 64, "objects": json.dumps([{"label": label}]),
            }
        )  # fmt: skip
    version = lake.datasets.save(line.line, pa.Table.from_pylist(rows), {})
    models = []
    for seed in (1, 2):
        (done,) = of(train_here(job(data, tmp_path / str(seed), seed=seed, **{**TINY, "epochs": 1})), "finished")
        oid = lake.blobs.put_bytes(Path(done["weights"]).read_bytes())
        models.append(ModelRef(model_version=str(seed), weights_oid=oid, classes=CLASSES))

    _, found = evaluate(lake, line, version, kind=KIND, challenger=models[1], champion=models[0])
    assert found.images == 12 and recompute(lake, line, KIND, found) == found

    table = stored_predictions(lake, found.challenger.predictions_oid)
    place = table.column_names.index("score")
    forged = table.set_column(place, "score", pc.subtract(pa.scalar(np.float32(1)), table.column("score")))
    sink = io.BytesIO()
    pq.write_table(forged, sink)
    challenger = found.challenger.model_copy(update={"predictions_oid": lake.blobs.put_bytes(sink.getvalue())})
    touched = found.model_copy(update={"challenger": challenger})
    assert recompute(lake, line, KIND, touched).metrics != touched.metrics, "forged probabilities are found out"

    mistakes = [view for view in found.challenger.worst if view.errors]
    html = render_stored(lake, line, KIND, found, Judged(*decide(line, found, KIND), datetime.now(UTC)))
    assert html.count("<figcaption>") == len(mistakes) > 0
    assert html.count("what speaks for") >= 1, "the network itself was asked"
