"""What an older release kept all in one root is moved to where each server finds its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from tasks.config import S3Settings
from tasks.errors import StackError
from tasks.stack import s3
from tasks.stack.layout import Layout

SETTINGS = S3Settings(mlflow_bucket="mlflow")


def _files(layout: Layout) -> set[str]:
    found = (path for name in s3.SERVICES for path in layout.s3_root(name).rglob("*"))
    return {path.relative_to(layout.state_dir).as_posix() for path in found if path.is_file()}


@pytest.fixture
def older(layout: Layout) -> Layout:
    for name in ("landing/clip.mp4", "lake/blobs/sha256/ab/abc", "lake/mlflow/1/run/artifacts/model"):
        path = layout.state_dir / "s3" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return layout


def test_an_older_state_is_moved_and_stays_moved(older: Layout) -> None:
    moved = {"s3-landing/landing/clip.mp4", "s3/lake/blobs/sha256/ab/abc", "s3-mlflow/mlflow/1/run/artifacts/model"}
    for _ in range(2):
        s3.lay_out(older, SETTINGS)
        assert _files(older) == moved


def test_a_move_that_was_killed_is_finished(older: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    real, moved = Path.rename, []

    def rename(self: Path, target: Path) -> Path:
        if moved:
            raise KeyboardInterrupt
        moved.append(target)
        return real(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", rename)
        with pytest.raises(KeyboardInterrupt):
            s3.lay_out(older, SETTINGS)
    s3.lay_out(older, SETTINGS)
    assert "s3-mlflow/mlflow/1/run/artifacts/model" in _files(older) and len(_files(older)) == 3


def test_what_is_in_the_new_place_is_never_replaced(older: Layout) -> None:
    kept = older.s3_root("s3-landing") / "landing" / "new.mp4"
    kept.parent.mkdir(parents=True)
    kept.write_text("new")
    s3.lay_out(older, SETTINGS)
    assert kept.read_text() == "new" and (older.state_dir / "s3" / "landing" / "clip.mp4").exists()


def test_a_folder_in_the_way_of_the_frames_is_an_error_that_says_so(layout: Layout) -> None:
    with pytest.raises(StackError, match="NIGHTSCOPE_S3__FRAMES_BUCKET"):
        s3.lay_out(layout, SETTINGS.model_copy(update={"frames_bucket": "lake"}))


def test_the_frames_bucket_is_one_for_both_servers(layout: Layout) -> None:
    s3.lay_out(layout, SETTINGS)
    (layout.s3_root("s3") / "frames" / "a").write_text("a frame")
    assert (layout.s3_root("s3-frames") / "frames" / "a").read_text() == "a frame"
    assert not (layout.s3_root("s3-frames") / "lake").exists()
