"""The files and numbers that are shown beside a training: complete, readable by tools, unrounded."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tasks.evaluation.artifacts import logged_metrics, write_artifacts
from tasks.evaluation.evaluation import Evaluation
from tasks.evaluation.tables import as_csv, tables
from tasks.lake import Lake
from tests.evaluation.world import FRAMES, a_line, judged, make_world, model


@pytest.fixture
def found(lake: Lake) -> Evaluation:
    world = make_world(lake, a_line(), ["a.mp4", "b, c.mp4", "<d>.mp4"])
    _, evaluation = judged(lake, world, model("2", 0.3), model("1", 0.4))
    return evaluation


def test_tables_hold_every_number_as_it_was_measured(found: Evaluation) -> None:
    every = tables(found)
    assert set(every) == {"per_class", "per_size", "per_recording", "differences", "breakdown", "confusion"}
    row = next(
        row for row in csv.DictReader(io.StringIO(as_csv(every["per_recording"]))) if row["recording"] == "b, c.mp4"
    )
    own = found.metrics["per_recording"]["b, c.mp4"]
    assert float(row["AP50"]) == own["AP50"] and int(row["images"]) == FRAMES
    assert float(row["sperm labelled per frame"]) == own["count_per_frame"]["sperm"]["labelled"]
    assert found.champion_metrics is not None
    assert float(row["champion AP50"]) == found.champion_metrics["per_recording"]["b, c.mp4"]["AP50"]
    assert len(every["differences"]) == len(found.differences)
    overall = next(row for row in every["differences"] if (row["slice"], row["metric"]) == ("overall", "ECE"))
    difference = found.difference("ECE")
    assert difference is not None and overall["difference"] == difference.value
    assert overall["low"] == difference.interval(found.confidence).low
    assert [row["error"] for row in every["breakdown"]] == [kind.name for kind in found.challenger.breakdown]
    assert {row["model"] for row in every["confusion"]} == {"challenger", "champion"}


def test_a_value_that_is_missing_is_an_empty_field() -> None:
    assert as_csv([{"a": 1}, {"a": None, "b": "x, y"}]) == 'a,b\n1,\n,"x, y"\n'


def test_files_stand_alone(found: Evaluation, tmp_path: Path) -> None:
    written = write_artifacts(found, b"<html></html>", tmp_path)
    assert written["test/report.html"].read_bytes() == b"<html></html>"
    assert Evaluation.model_validate(json.loads(written["test/evaluation.json"].read_text())) == found
    curves = [path for name, path in written.items() if name.startswith("test/curves/")]
    assert len(curves) == 3
    for path in curves:
        drawing = ElementTree.parse(path).getroot()
        assert drawing.tag == "{http://www.w3.org/2000/svg}svg"
        words = "".join(drawing.itertext())
        assert "sperm" in words and "dashed: champion" in words and "<style" in path.read_text()


def test_logged_metrics_have_names_that_mlflow_takes(found: Evaluation) -> None:
    logged = logged_metrics(found)
    assert logged["test/AP50"] == found.metrics["AP50"]
    assert logged["test/per_class/sperm/labels"] == found.metrics["per_class"]["sperm"]["labels"]
    assert logged["test/model_size_mb"] == found.metrics["model_size_mb"]
    assert not any("recording" in name for name in logged)
    odd = found.model_copy(
        update={"challenger": found.challenger.model_copy(update={"metrics": {"per_class": {"a(b)": {"AP50": 0.5}}}})}
    )
    assert logged_metrics(odd) == {"test/per_class/a_b_/AP50": 0.5}
