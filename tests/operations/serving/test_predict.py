"""`nightscope predict`: rows for pictures, folders and videos; what cannot be read is named, and the rest goes on."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile
from typer.testing import CliRunner, Result

from tasks.cli import app
from tasks.config import IngestLimits
from tasks.ingest.streaming import FrameStream, format_to_read
from tasks.operations.predicting.files import Predicted, predict_files
from tasks.operations.predicting.loading import LoadedModel, load_model
from tasks.session import open_session
from tests.ingest.clips import write_clip
from tests.operations.exporting import HEIGHT, WIDTH, Champion

COLUMNS = ["file", "frame_index", "time_s", "label", "score", "x_px", "y_px", "width_px", "height_px"]


@pytest.fixture
def own(champion: Champion, monkeypatch: pytest.MonkeyPatch) -> Champion:
    """The champion, where this process's commands find it."""
    monkeypatch.setenv("NIGHTSCOPE_STATE_DIR", str(champion.settings.state_dir))
    monkeypatch.setenv("NIGHTSCOPE_LINES_DIR", str(champion.lines_dir))
    return champion


@pytest.fixture
def loaded(own: Champion) -> LoadedModel:
    return load_model(open_session(), own.line.line)


def picture(seed: int) -> np.ndarray:
    image = np.random.default_rng(seed).integers(0, 30, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    x = 5 + 7 * seed % 70
    image[10:22, x : x + 12] = 250
    return image


def save(path: Path, image: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), image)
    return path


def predict(*arguments: Any) -> Result:
    return CliRunner().invoke(app, ["predict", *map(str, arguments)])


def rows_of(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(text.splitlines()))


def test_pictures_of_a_folder_in_order_with_units_in_the_names(
    own: Champion, loaded: LoadedModel, tmp_path: Path
) -> None:
    for number in (10, 2, 1):
        save(tmp_path / "plate" / f"cell{number}.png", picture(number))
    save(tmp_path / "plate" / ".hidden.png", picture(3))
    (tmp_path / "plate" / "notes.txt").write_text("no picture")
    done = predict(own.line.line, tmp_path / "plate", "--min-score", "0.01")
    assert done.exit_code == 0, done.output
    assert done.stdout.splitlines()[0].split(",") == COLUMNS
    rows = rows_of(done.stdout)
    assert list(dict.fromkeys(Path(row["file"]).name for row in rows)) == ["cell1.png", "cell2.png", "cell10.png"]
    for number in (1, 2, 10):
        own_rows = [row for row in rows if row["file"].endswith(f"cell{number}.png")]
        expected = loaded.rows(picture(number), 0.01)
        assert expected and [row["x_px"] for row in own_rows] == [str(row["x_px"]) for row in expected]
        assert {(row["frame_index"], row["time_s"]) for row in own_rows} == {("0", "")}


def test_frames_of_a_video_have_their_number_and_time(own: Champion, tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip.mp4", 9, fps_hz=4, picture=lambda index: picture(index)[..., 0])
    done = predict(own.line.line, clip, "--every", "4", "--min-score", "0.99", "--json")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert found["unreadable"] == [] and found["columns"] == COLUMNS and found["line"] == own.line.line
    first = {row["frame_index"]: row for row in reversed(found["predictions"])}
    assert {index: row["time_s"] for index, row in first.items()} == {0: 0.0, 4: 1.0, 8: 2.0}


def test_a_frame_without_anything_has_an_empty_row(own: Champion, tmp_path: Path) -> None:
    stack = tmp_path / "dark.tif"
    tifffile.imwrite(stack, np.zeros((3, HEIGHT, WIDTH), np.uint8), photometric="minisblack")
    done = predict(own.line.line, stack, "--min-score", "1")
    assert [(row["frame_index"], row["label"], row["x_px"]) for row in rows_of(done.stdout)] == [
        ("0", "", ""), ("1", "", ""), ("2", "", "")]  # fmt: skip


def test_what_is_unreadable_is_named_and_the_rest_goes_on(own: Champion, tmp_path: Path) -> None:
    good = save(tmp_path / "a.png", picture(1))
    cut = tmp_path / "cut.mp4"
    whole = write_clip(tmp_path / "whole.mp4", 6, fps_hz=4, picture=lambda index: picture(index)[..., 0])
    cut.write_bytes(whole.read_bytes()[:900])
    lie = tmp_path / "lie.jpg"
    lie.write_text("=1+1, no picture")
    other = tmp_path / "table.xlsx"
    other.write_bytes(b"PK")
    out = tmp_path / "out.csv"
    gone = tmp_path / "gone.png", tmp_path / "nowhere"
    done = predict(own.line.line, cut, lie, *gone, other, good, whole, "--csv", out, "--min-score", "0.01")
    assert done.exit_code == 1 and done.stdout == ""
    for name in ("cut.mp4", "lie.jpg", "gone.png", "table.xlsx"):
        assert any("unreadable:" in line and name in line for line in done.stderr.splitlines()), done.stderr
    assert done.stderr.count("No such file") == 2
    assert {Path(row["file"]).name for row in rows_of(out.read_text())} == {"a.png", "whole.mp4"}
    assert json.loads(predict(own.line.line, lie, good, "--json").stdout)["unreadable"][0]["file"] == str(lie)


def test_an_interrupted_run_leaves_the_file_of_the_last_one(
    own: Champion, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good, out = save(tmp_path / "a.png", picture(1)), tmp_path / "out.csv"
    assert predict(own.line.line, good, "--csv", out).exit_code == 0
    before, rows = out.read_text(), LoadedModel.rows
    calls = iter(range(9))

    def until_the_third(self: LoadedModel, *arguments: Any) -> Any:
        if next(calls) == 2:
            raise KeyboardInterrupt
        return rows(self, *arguments)

    monkeypatch.setattr(LoadedModel, "rows", until_the_third)
    assert predict(own.line.line, good, good, good, good, "--csv", out).exit_code != 0
    assert out.read_text() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "out.csv"]
    assert predict(own.line.line, good, "--csv", tmp_path / "no" / "out.csv").exit_code == 1


def test_a_version_by_number_and_one_that_is_not_there(own: Champion, tmp_path: Path) -> None:
    good = save(tmp_path / "a.png", picture(1))
    done = predict(own.line.line, good, "--version", own.record.version, "--json")
    assert json.loads(done.stdout)["model_version"] == own.record.version
    assert predict(own.line.line, good, "--version", "999").exit_code == 1
    assert predict("no-such-line", good).exit_code == 1
    assert predict(own.line.line, good, "--every", "0").exit_code == 2


LONG = """
import resource, sys
from pathlib import Path
from tasks.ingest.streaming import FrameStream, format_to_read
path = Path(sys.argv[1])
with FrameStream() as stream:
    frames = stream.frames(path, format_to_read(path.name))
    for _ in range(3):
        next(frames)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    count = sum(1 for _ in frames)
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(count, after - before, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


def test_a_long_video_does_not_fill_memory(tmp_path: Path) -> None:
    frames, height, width = 400, 480, 640
    base = np.random.default_rng(0).integers(0, 255, (height // 8, width // 8)).astype(np.uint8)
    large = np.kron(base, np.ones((8, 8), np.uint8))
    clip = write_clip(tmp_path / "long.mp4", frames, fps_hz=25, picture=lambda index: np.roll(large, index, 1))
    done = subprocess.run([sys.executable, "-c", LONG, str(clip)], capture_output=True, text=True, check=True)
    count, grown_kb, worker_kb = map(int, done.stdout.split())
    assert count == frames - 3
    whole_kb = frames * height * width * 3 // 1024
    assert grown_kb < 40_000 and worker_kb < whole_kb * 0.95, (grown_kb, worker_kb, whole_kb)


def test_who_stops_in_the_middle_may_ask_again(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip.mp4", 30, fps_hz=4, picture=lambda index: picture(index)[..., 0])
    with FrameStream(IngestLimits()) as stream:
        assert next(stream.frames(clip, format_to_read(clip.name))).frame_index == 0
        again = [frame.frame_index for frame in stream.frames(clip, format_to_read(clip.name), every=10)]
    assert again == [0, 10, 20]


def test_rows_of_a_file_that_is_started_anew_do_not_count_twice(
    loaded: LoadedModel, tmp_path: Path, monkeypatch
) -> None:
    clip = write_clip(tmp_path / "clip.mp4", 4, fps_hz=4, picture=lambda index: picture(index)[..., 0])
    whole = FrameStream.frames

    def twice(self, *arguments, **rest):
        yield next(whole(self, *arguments, **rest))
        yield None
        yield from whole(self, *arguments, **rest)

    monkeypatch.setattr(FrameStream, "frames", twice)
    (result,) = predict_files(loaded, [clip], IngestLimits(), min_score=1.0)
    assert isinstance(result, Predicted) and result.frames == 4
