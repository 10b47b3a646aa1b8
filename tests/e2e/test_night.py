"""A small night, whole: real rclone, Label Studio, MLflow, Airflow (`dag.test()`), ultralytics."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tasks import evidence, operations
from tasks.cli.stack import count_lake
from tasks.config import HOME, Settings
from tasks.ingest.landing import add
from tasks.lake import open_lake
from tasks.session import open_session
from tasks.synthetic import make_recordings
from tasks.synthetic.labels import write_voc
from tests.airflow_home import airflow_environment
from tests.e2e.in_airflow import run_in_airflow
from tests.ingest.stills.pictures import labelled_cell
from tests.services import running

LINE = "sperm-detector"
FRAMES = 40
SMALL = {
    "imgsz": 64,
    "min_steps": 4,
    "epochs": 1,
    "batch": 4,
    "gate.AP50.sperm.at_least": 0.0,
    "gate.AP50.each-class.at_least": 0.0,
    "gate.latency_ms_p95.at_most": 60_000,
    "override": True,
    "note": "a test's night",
}
"""Learns nothing in seconds; the gates let it pass, and a person says that they may."""


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """The services, and this process's steps pointed at them."""
    state = tmp_path_factory.mktemp("night")
    with running(state, ("s3", "mlflow", "label-studio")) as settings, pytest.MonkeyPatch.context() as patch:
        patch.setenv("NIGHTSCOPE_STATE_DIR", str(state))
        yield settings


def _bring(settings: Settings, folder: Path, numbers: range) -> None:
    """Recordings into the landing bucket, and every 8th frame's labels into Label Studio."""
    made = make_recordings(
        folder / "recordings",
        count=len(numbers),
        first=numbers.start,
        seed=1,
        frames=FRAMES,
        impurities_per_frame=(6, 9),
    )
    # Which donor tests follows from the installation's secret: it may be any, so each has both classes.
    assert all(recording.count("sperm") and recording.count("impurity") for recording in made)
    report = add(open_lake(settings), [recording.path for recording in made], study="e2e")
    assert len(report.accepted) == len(numbers) and not report.refused
    for recording in made:
        write_voc(recording, folder / "labels", every=8)
    imported = operations.import_labels(open_session(), LINE, folder / "labels", "voc", 0)
    assert not imported.unmatched and imported.annotations == len(numbers) * FRAMES // 8


def _night(settings: Settings, **changes: Any) -> dict[str, Any]:
    return run_in_airflow(LINE, SMALL | changes, airflow_environment(settings))


def test_a_night_promotes_then_skips_then_compares(installation: Settings, tmp_path: Path) -> None:
    _bring(installation, tmp_path / "first", range(1, 4))
    first = _night(installation)
    assert first["state"] == "success", first
    assert first["verdict"]["verdict"] == "promote", first["verdict"]["reasons"]
    assert any("no champion yet" in reason.lower() for reason in first["verdict"]["reasons"])
    entry = evidence.entries(open_lake(installation), LINE)[-1]
    assert entry.by == "airflow:dag_test" and "AP50.sperm.at_least 0 instead of 0.6" in entry.note
    assert entry.note.endswith("a test's night")
    champion = operations.describe_champion(open_session(), LINE)
    assert champion.model_version == "1" and champion.metrics["per_class"].keys() == {"sperm", "impurity"}

    second = _night(installation)
    assert second["tasks"]["check_news"] == "skipped" and second["tasks"]["promote_model"] == "skipped"
    assert "nothing new" in second["outcomes"]["check_news"]["reason"]

    _bring(installation, tmp_path / "second", range(4, 5))
    third = _night(installation)
    assert third["verdict"], third["outcomes"]
    newest, oldest = operations.list_verdicts(open_session(), LINE)
    assert (newest.model_version, newest.champion_version, oldest.champion_version) == ("2", "1", None)
    assert newest.dataset_version != oldest.dataset_version and newest.champion_metrics

    lake = open_lake(installation)
    splits = {row["group"]: row["split"] for row in lake.tables.scan("splits", {"line": LINE}).to_pylist()}
    assert len(splits) == 4 and sorted(splits.values()).count("test") >= 1
    assert count_lake(installation)["recordings"] == 4 and count_lake(installation)["annotations"] == 4 * FRAMES // 8


def test_bad_values_are_refused_before_anything_is_done(installation: Settings) -> None:
    night = _night(installation, recipe_values={"momentun": 0.9})
    assert night["tasks"]["ingest_recordings"] == "failed"
    assert "momentun" in night["outcomes"]["ingest_recordings"]["reason"]
    assert "momentum" in night["outcomes"]["ingest_recordings"]["reason"], "a typo should be told what it is close to"


def test_unknown_keys_of_the_conf_are_refused(installation: Settings) -> None:
    night = _night(installation, imgsiz=640)
    assert night["tasks"]["ingest_recordings"] == "failed"
    assert "imgsiz" in night["outcomes"]["ingest_recordings"]["reason"]


def test_a_night_on_stills(installation: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The example line for blood cells, on cells that nobody bled: pictures, their VOC files, a night, a verdict."""
    example = yaml.safe_load((HOME / "examples/blood-cells.yaml").read_text())
    example |= {"minimums": {"recordings": 10}, "evaluation": {"min_clusters": 2, "resamples": 100}}
    (tmp_path / "lines").mkdir()
    (tmp_path / "lines" / "blood-cells.yaml").write_text(yaml.safe_dump(example))
    monkeypatch.setenv("NIGHTSCOPE_LINES_DIR", str(tmp_path / "lines"))
    for number in range(24):
        labelled_cell(tmp_path / "set", number)
    added = operations.add_stills(open_session(), [str(tmp_path / "set")], study="bccd")
    assert (added.new, added.groups, added.passed_over) == (24, 24, 24)
    imported = operations.import_labels(open_session(), "blood-cells", tmp_path / "set" / "labels", "voc")
    assert (imported.annotations, imported.unmatched) == (24, ())

    small = {name: value for name, value in SMALL.items() if "sperm" not in name} | {"gate.AP50.at_least": 0.0}
    environment = airflow_environment(installation) | {"NIGHTSCOPE_LINES_DIR": str(tmp_path / "lines")}
    night = run_in_airflow("blood-cells", small, environment)
    assert night["state"] == "success", night
    (verdict,) = operations.list_verdicts(open_session(), "blood-cells")
    lake = open_lake(installation)
    manifest = lake.datasets.load("blood-cells", verdict.dataset_version)
    rows = manifest.rows.to_pylist()
    assert len(rows) == 24 == len({row["group"] for row in rows}), "each picture is a cluster of its own"
    assert {row["split"] for row in rows} == {"train", "val", "test"} and manifest.about["leak_check"]["passed"]
    assert evidence.entries(lake, "blood-cells")
