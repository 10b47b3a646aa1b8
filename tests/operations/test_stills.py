"""`nightscope add --stills` as a script and as a person use it; a night's labels and splits on stills."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pytest
from typer.testing import CliRunner

from tasks import operations, steps
from tasks.cli import app
from tasks.config import HOME, load_lines
from tasks.datasets.freeze import freeze
from tasks.ingest.recordings import ingest_new
from tasks.ingest.viewing import Viewer
from tasks.lake import Lake
from tasks.leakage import audit
from tasks.schemas import Frame, Recording
from tasks.session import open_session
from tasks.validation.dataset import check_dataset
from tasks.validation.validate import validate
from tests.ingest.stills.pictures import a_line, crop, field, write
from tests.kinds.rooms import DETECTION
from tests.validation.factory import a_box, an_annotation

LINE = a_line(minimums={"recordings": 3}, evaluation={"min_clusters": 2})


def run(*arguments: str, code: int = 0) -> str:
    done = CliRunner().invoke(app, list(arguments))
    assert done.exit_code == code, done.output
    return f"{done.output}{done.exception or ''}"  # `tasks.__main__` prints it


def test_add_stills_tells_a_person_and_a_script(installed: Lake, tmp_path: Path) -> None:
    for donor in ("D1", "D2"):
        write(tmp_path / "set" / donor / f"{donor}.png", int(donor[1]))
    (tmp_path / "set" / "LICENSE").write_text("x")
    text = run("add", str(tmp_path / "set"), "--stills", "--group-by", "folder", "--study", "s")
    assert "2 pictures landed in 1 batches, 0 were there already; 2 groups; 1 other files passed over" in text
    told = json.loads(run("add", str(tmp_path / "set"), "--stills", "--group-by", "folder", "--study", "s", "--json"))
    assert (told["new"], told["batches"], len(told["accepted"]), told["refused"]) == (0, 0, 2, [])
    refused = run("add", str(tmp_path / "set"), "--stills", "--donor", "D9", "--split", "test", code=0)
    assert "2 were there already" in refused, "they wait, and get the new donor"
    steps.ingest_recordings(open_session())
    assert {one.donor for one in installed.tables.rows("recordings", Recording)} == {"D9"}
    assert "donor 'D9', not 'D1'" in run("add", str(tmp_path / "set"), "--stills", "--group-by", "(D.)", code=1)


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("--group-by", "folder"), "is for stills"),
        (("--stills", "--fps", "25"), "no frames a second"),
        (("--stills", "--group-by", "csv:who"), "no CSV"),
        (("--stills", "--readmit", "--donor", "D1"), "was erased"),
    ],
)
def test_what_does_not_go_together(installed: Lake, tmp_path: Path, arguments: tuple[str, ...], word: str) -> None:
    write(tmp_path / "alone" / "set" / "a.png", 1)
    assert word in run("add", str(tmp_path / "alone" / "set"), *arguments, code=1)
    assert list(installed.landing.list()) == []


def test_recordings_are_not_taken_from_buckets(installed: Lake) -> None:
    assert "only stills are taken from a bucket" in run("add", "s3://landing/x", code=1)


def test_overlapping_pictures_of_one_smear_stand_in_one_split(installed: Lake, tmp_path: Path) -> None:
    """Twelve smears, of half of which there are two overlapping pictures each; nobody noted it."""
    for smear in range(12):
        for shift, view in enumerate("ab" if smear < 6 else "a"):
            field(tmp_path / "set" / f"smear{smear:02d}_{view}.png", smear, shift * 24)
    operations.add_stills(open_session(), [str(tmp_path / "set")])
    ingest_new(installed, [LINE])
    rows = installed.tables.rows("frames", Frame)
    installed.tables.append("annotations", [an_annotation(one, objects=[a_box("cell")]) for one in rows])
    found = validate(installed, LINE, DETECTION)
    assert found.accepted.num_rows == 18

    about = {"result_oid": found.result_oid, "snapshots": found.snapshots}
    with Viewer(installed) as viewer:
        version = freeze(
            installed, LINE, found.accepted, kind=DETECTION, validation=about, check=check_dataset, viewer=viewer
        )
    manifest = installed.datasets.load(LINE.line, version)
    split = {row["recording_name"][:9]: row["split"] for row in manifest.rows.to_pylist()}
    assert all(split[f"smear{smear:02d}_a"] == split[f"smear{smear:02d}_b"] for smear in range(6))
    assert len({row["group"] for row in manifest.rows.to_pylist()}) == 18, "each picture is a cluster of its own"
    assert "stills went to where others stand" in manifest.about["warnings"][-1], "else nothing was torn apart"
    assert manifest.about["leak_check"]["passed"] and {"train", "test"} <= set(split.values())


def test_crops_of_different_cells_are_no_copies_and_a_copy_is_one(installed: Lake, tmp_path: Path) -> None:
    for number in range(40):
        crop(tmp_path / "set" / f"cell_{number}.png", number)
    crop(tmp_path / "set" / "copy_of_7.jpg", 7, quality=60)
    operations.add_stills(open_session(), [str(tmp_path / "set")])
    ingest_new(installed, [LINE])
    recordings = {one.recording_id: one for one in installed.tables.rows("recordings", Recording)}
    rows = [
        {
            "split": "test" if recordings[one.recording_id].name.endswith(("0.png", "7.png")) else "train",
            "group": recordings[one.recording_id].group,
            "recording_id": one.recording_id,
            "recording_name": recordings[one.recording_id].name,
            "frame_index": 0,
            "frame_oid": one.oid,
        }
        for one in installed.tables.rows("frames", Frame)
    ]
    found = audit(installed, pa.Table.from_pylist(rows))
    names = [{each.one.recording_name, each.other.recording_name} for each in found.findings]
    assert names == [{"cell_7.png", "copy_of_7.jpg"}]
    assert len(found.ruled_out) > 3, "else these crops are not alike enough to tell"


def test_the_example_lines_are_right() -> None:
    assert "blood-cells" in [line.line for line in load_lines(HOME / "examples")]
