"""The example data: its README's commands, carried out with the real S3 server and the real Label Studio."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import av
import numpy as np
import pytest
from typer.testing import CliRunner

from tasks.cli import app
from tasks.config import HOME, LabelStudioSettings, Settings, load_line, load_settings
from tasks.kinds import kind_of
from tasks.labeling.sync import sync
from tasks.lake import open_lake
from tasks.schemas import Annotation, Recording
from tests.docs.texts import script, shown_commands
from tests.services import use_external_s3

EXAMPLES = HOME / "examples"
TEXT = (EXAMPLES / "README.md").read_text()
LINE = "tiny-swim"
ROW = re.compile(r"^\| `(swim/[\w/.-]+)` \| (donor-\d+) \| `(swim/labels/\w+)` \(.*\) \| (\d+) \| (\d+) \|$", re.M)
DATA = {
    Path(path).stem: (donor, labels, int(frames), int(boxes))
    for path, donor, labels, frames, boxes in ROW.findall(TEXT)
}
"""Recording -> donor, folder of labels, frames with labels and boxes, as the README's table says."""


@pytest.fixture
def installed(
    settings: Settings, label_studio: LabelStudioSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Settings:
    """An installation that has the example's line and nothing else."""
    lines = tmp_path / "lines"
    lines.mkdir()
    shutil.copy(EXAMPLES / "tiny-swim.yaml", lines)
    use_external_s3(settings.state_dir, settings.s3)
    values = {"URL": label_studio.url, "USERNAME": label_studio.username}
    secrets = {"PASSWORD": label_studio.password, "TOKEN": label_studio.token}
    for key, value in (values | {key: secret.get_secret_value() for key, secret in secrets.items()}).items():
        monkeypatch.setenv(f"NIGHTSCOPE_LABEL_STUDIO__{key}", value)
    monkeypatch.setenv("NIGHTSCOPE_STATE_DIR", str(settings.state_dir))
    monkeypatch.setenv("NIGHTSCOPE_LINES_DIR", str(lines))
    monkeypatch.chdir(HOME)
    lake = open_lake(load_settings())
    for store in (lake.landing, lake.store, lake.frames.store):
        store.ensure_bucket()
    return load_settings()


def _run(words: list[str]) -> dict[str, object]:
    done = CliRunner().invoke(app, [*words, "--json"])
    assert done.exit_code == 0, f"{words}: {done.output} {done.exception}"
    return dict(json.loads(done.stdout))


def test_the_readmes_commands_bring_in_what_the_readme_says(installed: Settings) -> None:
    commands = list(shown_commands(TEXT, "nightscope"))
    adds = [words for words in commands if words[0] == "add"]
    imports = [words for words in commands if words[:2] == ["labels", "import"]]
    assert len(adds) == len(imports) == len(DATA) == 4

    for words in adds:
        assert len(_run(words)["accepted"]) == 1  # type: ignore[arg-type]
    for words in imports:
        (frames,) = [frames for _, labels, frames, _ in DATA.values() if f"examples/{labels}" == words[2]]
        report = _run(words)
        assert (report["matched"], report["annotations"], report["unmatched"]) == (frames, frames, [])

    lake = open_lake(installed)
    sync(lake, load_line(LINE, installed.lines_dir), kind_of("detection"))
    recordings = {row.recording_id: row for row in lake.tables.rows("recordings", Recording)}
    assert {row.stem: row.donor for row in recordings.values()} == {stem: row[0] for stem, row in DATA.items()}
    assert {row.stem: row.pinned_split for row in recordings.values()}["swim-03"] == "test"
    boxes = dict.fromkeys(DATA, 0)
    for row in lake.tables.rows("annotations", Annotation, {"line": LINE}):
        boxes[recordings[row.recording_id].stem] += len(row.objects)
    assert boxes == {stem: row[3] for stem, row in DATA.items()}


def _pixels(path: Path) -> np.ndarray:
    with av.open(str(path)) as opened:
        return np.stack([frame.to_ndarray(format="gray") for frame in opened.decode(video=0)]).astype(float)


def test_the_examples_are_what_the_script_makes(tmp_path: Path) -> None:
    script(EXAMPLES / "make.py").make(tmp_path)
    kept = EXAMPLES / "swim"
    files = {path.relative_to(kept) for path in kept.rglob("*") if path.is_file()}
    assert {path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file()} == files
    assert sum((kept / path).stat().st_size for path in files) < 300_000
    for path in files:
        if path.suffix in (".mp4", ".jpg"):
            made, there = _pixels(tmp_path / path), _pixels(kept / path)
            assert made.shape == there.shape and np.abs(made - there).mean() < 2, path
        else:
            assert (tmp_path / path).read_bytes() == (kept / path).read_bytes(), path
