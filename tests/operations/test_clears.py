"""A night that was refused for two recordings that look the same goes on once a named person cleared them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tasks import steps
from tasks.cli import app
from tasks.config import Settings
from tasks.errors import LeakageError
from tasks.evidence import chain
from tasks.lake import Lake, open_lake
from tasks.operations.who import os_user
from tasks.session import open_session
from tasks.steps.audit import require_apart, require_audit
from tasks.synthetic import make_recordings
from tests.leakage.recorded import pictures_of, put_frames, put_recording, write
from tests.steps.small_line import LINE as SMALL
from tests.steps.small_line import steps_use
from tests.validation.factory import a_box, an_annotation, fill

LINE, NOTE = "films", "two donors; what both show is a scratch on the lens"


@pytest.fixture(scope="module")
def installation(
    small_line_environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Settings]:
    """A line of three donors' films and a trimmed copy of the first one, in the test split under a fourth donor."""
    with steps_use(small_line_environment) as settings:
        text = (settings.lines_dir / f"{SMALL}.yaml").read_text().replace(f"line: {SMALL}", f"line: {LINE}")
        (settings.lines_dir / f"{LINE}.yaml").write_text(text)
        folder = tmp_path_factory.mktemp("films")
        made = make_recordings(
            folder, count=3, seed=5, frames=50, width_px=384, height_px=288, sperm_per_frame=(12, 20)
        )
        paths = [own.path for own in made]
        _put(open_lake(settings), [*paths, write(folder / "copy.mp4", pictures_of(paths[0])[9:-9], crf=28)])
        yield settings


def _put(lake: Lake, paths: list[Path]) -> None:
    recordings, frames = [], []
    for number, (path, split) in enumerate(zip(paths, ("train", "train", "val", "test"), strict=True)):
        recording = put_recording(lake, path, f"filmer{number}")
        recordings.append(recording.model_copy(update={"pinned_split": split}))
        frames += put_frames(lake, recording, path, line=LINE)
    boxes = [a_box("sperm", 8, 8), a_box("impurity", 60, 20, 12, 10)]
    fill(lake, recordings, frames, [an_annotation(frame, boxes) for frame in frames])


def _run(*arguments: str, code: int = 0) -> str:
    ended = CliRunner().invoke(app, list(arguments))
    assert ended.exit_code == code, ended.output
    return ended.stdout


def _json(*arguments: str, code: int = 0) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(_run(*arguments, "--json", code=code))
    return document


def test_the_night_goes_on_after_the_clear_and_its_evidence_shows_who_gave_it(
    installation: Settings, tmp_path: Path
) -> None:
    lake = open_lake(installation)
    validation = steps.validate_labels(open_session(), LINE).validation_oid
    with pytest.raises(LeakageError) as refused:
        steps.freeze_dataset(open_session(), LINE, {}, validation)
    named = re.search(rf"nightscope audit clear {LINE} ([0-9a-f]{{12}}) --note", str(refused.value))
    assert named and lake.datasets.versions(LINE) == []
    pair = named[1]

    page = tmp_path / "pair.html"
    shown = _run("audit", "pair", LINE, pair, "--out", str(page))
    assert "copy.mp4" in shown and f"nightscope audit clear {LINE} {pair}" in shown
    assert page.read_text().count("data:image/jpeg") == 2 and pair in page.read_text()
    shown = _run("audit", LINE, code=1)
    assert f"nightscope audit clear {LINE} {pair} --note" in shown
    assert "cleared" in _run("audit", "clear", LINE, pair, "--note", NOTE)
    (listed,) = _json("audit", "clears", LINE)["clears"]
    assert (listed["by"], listed["note"], listed["active"], listed["kind"]) == (os_user(), NOTE, True, "clip")
    assert "copy.mp4" in listed["names"]

    version = steps.freeze_dataset(open_session(), LINE, {}, validation).dataset_version
    trained = steps.train_challenger(open_session(), LINE, {}, version)
    evaluation = steps.evaluate_models(open_session(), LINE, {}, version, trained.model_version).evaluation_oid
    training = steps.training_of(open_session(), LINE, trained.model_version)
    verdict = steps.decide_verdict(open_session(), LINE, {}, evaluation, training)
    steps.promote_model(open_session(), LINE, {}, verdict.verdict_id)

    summary = lake.datasets.load(LINE, version).about["leak_check"]
    (own,) = summary["cleared_by_people"]
    assert summary["passed"] and (own["pair_id"], own["by"], own["note"]) == (pair, os_user(), NOTE)
    assert f"1 pair cleared by {os_user()}" in lake.blobs.get_bytes(str(verdict.report_oid)).decode()
    bundle = chain.load(lake, chain.entries(lake, LINE)[-1].bundle_oid)
    assert own["record_oid"] in {named.sha256 for named in bundle.objects}
    assert "decided that they are not copies" in lake.blobs.get_bytes(bundle.card_oid).decode()
    report = _json("verify", LINE)
    assert report["holds"], report["findings"]
    assert report["checked"]["clears"] == 1
    assert any(os_user() in note and NOTE in note for note in report["notes"])

    audit = _json("audit", LINE)
    assert audit["passed"] and audit["dataset_version"] == version
    assert audit["cleared_by_people"][0]["clear"]["note"] == NOTE
    shown = _run("audit", LINE, "--out", str(page))
    assert "looks the same, and was cleared by a person" in shown and NOTE in shown
    assert page.read_text().count("data:image/jpeg") == 2 and NOTE in page.read_text()

    manifest = lake.datasets.load(LINE, version)
    require_audit(lake, manifest)
    _run("audit", "revoke", LINE, pair, "--note", "a copy after all")
    with pytest.raises(LeakageError, match="the same clip"):
        require_audit(lake, manifest)
    with pytest.raises(LeakageError, match="the same clip"):
        steps.train_challenger(open_session(), LINE, {"seed": 4}, version)
    (listed,) = _json("audit", "clears", LINE)["clears"]
    assert (listed["active"], listed["revoked"]["note"]) == (False, "a copy after all")
    assert "revoked by" in _run("audit", "clears", LINE)
    assert _json("verify", LINE)["holds"], "what was decided then stays evidence"


def test_what_cannot_be_cleared_says_why(installation: Settings) -> None:
    ended = CliRunner().invoke(app, ["audit", "clear", LINE, "0" * 12, "--note", "x"])
    assert ended.exit_code != 0 and "no audit on record refused it" in str(ended.exception)
    ended = CliRunner().invoke(app, ["audit", "clear", LINE, "0" * 12])
    assert ended.exit_code == 2 and "--note" in ended.output
    ended = CliRunner().invoke(app, ["audit", "run", "nonsense"])
    assert "nonsense" in str(ended.exception)


def test_a_champion_may_be_judged_on_what_a_person_cleared(installation: Settings) -> None:
    """The champion's recording and tonight's never stood in one version; the pair is the same."""
    lake = open_lake(installation)
    rows = lake.datasets.load(LINE, lake.datasets.versions(LINE)[-1]).rows
    learned = lake.datasets.save(LINE, rows.filter([split != "test" for split in rows["split"].to_pylist()]), {})
    tested = lake.datasets.save(LINE, rows.filter([split != "train" for split in rows["split"].to_pylist()]), {})
    assert not _json("audit", "clears", LINE)["clears"][0]["active"], "the test before this one revoked it"
    with pytest.raises(LeakageError, match=r"champion has learned from what stands .*labels in the TEST") as refused:
        require_apart(lake, LINE, tested, learned)
    named = re.search(rf"nightscope audit clear {LINE} (\w+) --note", str(refused.value))
    assert named
    _run("audit", "clear", LINE, named[1], "--note", NOTE)
    require_apart(lake, LINE, tested, learned)
