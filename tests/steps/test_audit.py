"""Before every training, and on request: what leaks does not train."""

from __future__ import annotations

import json
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from typer.testing import CliRunner

from tasks import operations, steps
from tasks.cli import app
from tasks.config import load_line
from tasks.errors import ConfigError, LeakageError, NotFound
from tasks.lake import Lake
from tasks.lake.quarantine import listed
from tasks.leakage import COLUMNS
from tasks.leakage.code import audit_code
from tasks.session import open_session
from tasks.steps.audit import require_apart, require_audit
from tasks.synthetic import make_recordings
from tests.leakage.recorded import dataset, pictures_of, write
from tests.steps.small_line import LINE as SMALL
from tests.steps.small_line import small_line, steps_use
from tests.validation.factory import a_box, a_recording, an_annotation, fill, put_frame

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
        steps.train_challenger(open_session(), LINE, {}, leaking)


def test_a_version_that_passed_today_is_not_audited_again(
    installed: Lake,
    videos: list[Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rows = dataset(installed, [(videos[0], "train", "a"), (videos[1], "test", "b")])
    first = installed.datasets.load(LINE, frozen(installed, rows))
    require_audit(installed, first)
    record = operations.audit_dataset(open_session(), LINE)
    assert record.passed and record.dataset_version == first.version
    monkeypatch.setattr(steps.audit, "audited", lambda *_: pytest.fail("audited again"))
    require_audit(installed, first)


def test_what_a_version_says_of_its_own_audit_is_not_believed(
    installed: Lake, videos: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = dataset(installed, [(videos[0], "train", "a"), (videos[1], "test", "b")])
    says = {"passed": True, "code": audit_code(), "settled": True}
    version = installed.datasets.load(LINE, frozen(installed, rows, leak_check=says))
    asked: list[str] = []
    monkeypatch.setattr(steps.audit, "audited", lambda _, line, __: asked.append(line))
    monkeypatch.setattr("tasks.leakage.require_passed", lambda *_: None)
    require_audit(installed, version)
    assert asked == [LINE]


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
        operations.audit_dataset(open_session(), "abcdef12")
    with pytest.raises(ConfigError, match="nonsense"):
        operations.audit_dataset(open_session(), "nonsense")
    load_line(LINE, installed.settings.lines_dir)


def test_several_versions_with_one_beginning_are_told_apart(installed: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in (1, 2):
        installed.store.put_bytes(f"datasets/{LINE}/abcdef{number}{'0' * 57}/about.json", b"{}", "application/json")
    with pytest.raises(ConfigError, match="abcdef: 2 dataset versions begin so"):
        operations.audit_dataset(open_session(), "abcdef")


@pytest.fixture
def remembered(installed: Lake, videos: list[Path]) -> tuple[str, str]:
    """What the champion learned from, and tonight's version: its copy in test, the original not in it."""
    rows = dataset(installed, [(videos[0], "train", "a"), (videos[1], "val", "b"), (videos[2], "test", "c")])
    names = rows.column("recording_name")
    learned = rows.filter(pc.is_in(names, pa.array([videos[0].name, videos[1].name])))
    tonight = rows.filter(pc.is_in(names, pa.array([videos[1].name, videos[2].name])))
    return frozen(installed, learned), frozen(installed, tonight)


def test_a_champion_is_not_judged_on_a_copy_of_what_it_learned_from(
    installed: Lake, remembered: tuple[str, str]
) -> None:
    learned, tonight = remembered
    require_audit(installed, installed.datasets.load(LINE, tonight))
    with pytest.raises(LeakageError, match=r"champion has learned .*swim-01\.mp4.*copy\.mp4.*labels in the TEST") as it:
        require_apart(installed, LINE, tonight, learned)
    assert "pictures: s3://" in str(it.value)


def test_a_champion_that_learned_from_something_else_is_judged(
    installed: Lake, remembered: tuple[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    learned, tonight = remembered
    manifest = installed.datasets.load(LINE, learned)
    other = frozen(installed, manifest.rows.filter(pc.equal(manifest.rows.column("split"), "val")).select([*COLUMNS]))
    require_apart(installed, LINE, tonight, other)  # it learned from the second clip, which is another
    require_apart(installed, LINE, learned, learned)
    require_apart(installed, LINE, tonight, "f" * 64)
    assert "dataset ffffffffffff, which is gone" in caplog.text


def test_no_model_is_evaluated_against_a_champion_that_knows_the_test(
    installed: Lake, remembered: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    learned, tonight = remembered

    class Registered:
        def version(self, name: str, version: str) -> SimpleNamespace:
            return SimpleNamespace(version=version)

    monkeypatch.setattr(
        "tasks.steps.evaluate.promotion_lock", lambda session, name: nullcontext((installed, Registered()))
    )
    champion = SimpleNamespace(version="1", dataset_version=learned)
    monkeypatch.setattr("tasks.promotion.in_charge.champion_of", lambda lake, registry, name: champion)
    monkeypatch.setattr("tasks.training.records.vouched", lambda lake, record: record)
    with pytest.raises(LeakageError, match="champion has learned"):
        steps.evaluate_models(open_session(), LINE, {}, tonight, "2")


def test_auditing_what_is_not_frozen_yet_sets_bad_labels_aside(installed: Lake, tmp_path: Path) -> None:
    with steps_use(small_line(installed.settings, tmp_path)):
        recording = a_recording("bad", 30)
        frame = put_frame(installed, recording, 0, line=SMALL)
        fill(installed, [recording], [frame], [an_annotation(frame, [a_box(), a_box(width=0)])])
        shown = CliRunner().invoke(app, ["audit", SMALL])
        assert shown.exit_code == 0, shown.output
        assert "what would be frozen now" in shown.stdout and "no leak found" in shown.stdout
        assert installed.datasets.versions(SMALL) == []
        assert len(listed(installed, SMALL)) == 1
        told = " ".join(CliRunner().invoke(app, ["audit", "--help"]).stdout.split())
        assert "validated first" in told and "set aside" in told
