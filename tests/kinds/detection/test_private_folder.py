"""The folder of ultralytics' settings lies where everybody may write: one that somebody else made is not used."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tasks.kinds.detection import pyfunc_model
from tasks.training import ultralytics_offline as offline

Folder = Callable[[], Path | str]
FOLDERS: list[Folder] = [offline._private_folder, pyfunc_model._private_folder]


@pytest.fixture(autouse=True)
def shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The machine's temporary folder, for these tests."""
    folder = tmp_path / "shared"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def _usual(shared: Path) -> Path:
    return shared / f"nightscope-yolo-{os.getuid()}"


@pytest.mark.parametrize("private_folder", FOLDERS)
def test_it_is_made_once_and_is_ours_alone(shared: Path, private_folder: Folder) -> None:
    assert Path(private_folder()) == Path(private_folder()) == _usual(shared)
    assert _usual(shared).stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("private_folder", FOLDERS)
def test_a_folder_of_another_owner_is_not_used(
    shared: Path, private_folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = os.getuid() + 1
    planted = shared / f"nightscope-yolo-{other}"
    planted.mkdir()
    monkeypatch.setattr(os, "getuid", lambda: other)  # who we are; the folder's owner is not

    found = Path(private_folder())

    assert found != planted
    assert found.stat().st_mode & 0o777 == 0o700 and not list(planted.iterdir())


@pytest.mark.parametrize("private_folder", FOLDERS)
@pytest.mark.parametrize("planted", ["link", "dangling link", "file", "open folder"])
def test_what_is_no_folder_of_ours_is_not_used(
    shared: Path, tmp_path: Path, private_folder: Folder, planted: str
) -> None:
    target = tmp_path / "elsewhere"
    if planted == "link":
        target.mkdir(mode=0o700)
    if "link" in planted:
        _usual(shared).symlink_to(target)
    elif planted == "file":
        _usual(shared).touch()
    else:
        _usual(shared).mkdir()
        _usual(shared).chmod(0o777)

    found = Path(private_folder())

    assert found != _usual(shared)
    assert found.is_dir() and found.stat().st_mode & 0o777 == 0o700
    assert not list(target.iterdir()) if planted == "link" else not target.exists()
