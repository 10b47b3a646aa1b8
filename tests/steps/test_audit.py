"""Before every training, and on request: what leaks does not train."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pytest
from typer.testing import CliRunner

from tasks import steps
from tasks.cli import app
from tasks.config import load_line
from tasks.errors import ConfigError, LeakageError, NotFound
from tasks.lake import Lake
from tasks.steps.audit import require_audit
from tasks.synthetic import make_recordings
from tests.datasets.audit.recorded import dataset, pictures_of, write

LINE = "sperm-detector"


def frozen(lake: Lake, rows: pa.Table, **about: object) -> str:
    """A dataset version as an older Nightscope, or somebody's script, might have saved it."""
    count = len(rows)
    full = rows.append_column("media_type", pa.array(["image/jpeg"] * count))
    for name, value in (("pts_s", 0.0), ("width_px", 384), ("height_px", 288), ("annotation_id", "1-1"),
                        ("revision_id", "r"), ("objects", "[]")):  # fmt: skip
        full = full.append_column(name, pa.array([value] * count))
    return lake.datasets.save(LINE, full, {"has_val": False, **about})


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two clips, and the first one trimmed."""
    folder = tmp_path_factory.mktemp("videos")
    made = make_recordings(folder, count=2, seed=5, frames=50, width_px=384, height_px=288, sperm_per_frame=(12, 20))
    one, other = (recording.path for recording in made)
    return [one, other, write(folder / "copy.mp4", pictures_of(one)[9:-9], crf=28)]


@pytest.fixture
def leaking(installed: Lake, videos: list[Path]) -> str:
    placed = [(videos[0], "train", "a"), (videos[1], "train", "b"), (videos[2], "test", "c")]
    return frozen(installed, dataset(installed, placed))


def test_a_version_that_leaks_does_not_train(leaking: str) -> None:
    with pytest.raises(LeakageError, match=r"the same clip .*swim-01\.mp4.*copy\.mp4"):
        steps.train_challenger(LINE, {}, leaking)


def test_a_version_that_passed_today_is_not_audited_again(
    installed: Lake,
    videos: list[Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rows = dataset(installed, [(videos[0], "train", "a"), (videos[1], "test", "b")])
    first = installed.datasets.load(LINE, frozen(installed, rows))
    require_audit(installed, first)
    record = steps.audit_dataset(LINE)
    assert record["passed"] and record["dataset_version"] == first.version
    kept = {name: record[name] for name in ("passed", "code")}
    second = installed.datasets.load(LINE, frozen(installed, rows.slice(1), leak_check=kept))
    monkeypatch.setattr(steps.audit, "audited", lambda *_: pytest.fail("audited again"))
    require_audit(installed, second)


def test_the_command_shows_the_pair_and_writes_the_report(leaking: str, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    shown = CliRunner().invoke(app, ["audit", leaking[:10], "--out", str(page)])
    assert shown.exit_code == 1
    assert "1 leak;" in shown.stdout and "copy.mp4" in shown.stdout
    assert page.read_text().count("data:image/jpeg") == 2
    as_json = CliRunner().invoke(app, ["audit", LINE, "--json"])
    report = json.loads(as_json.stdout)
    assert as_json.exit_code == 1
    assert report["dataset_version"] == leaking
    assert [finding["kind"] for finding in report["findings"]] == ["clip"]


def test_what_cannot_be_audited_is_said(installed: Lake, videos: list[Path]) -> None:
    with pytest.raises(NotFound, match="neither a line nor the beginning of a dataset version"):
        steps.audit_dataset("abcdef12")
    with pytest.raises(ConfigError, match="nonsense"):
        steps.audit_dataset("nonsense")
    load_line(LINE, installed.settings.lines_dir)


def test_several_versions_with_one_beginning_are_told_apart(installed: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in (1, 2):
        installed.store.put_bytes(f"datasets/{LINE}/abcdef{number}{'0' * 57}/about.json", b"{}", "application/json")
    with pytest.raises(ConfigError, match="abcdef: 2 dataset versions begin so"):
        steps.audit_dataset("abcdef")
