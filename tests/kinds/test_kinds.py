"""Which kinds there are, and what is said where one is not there or not whole."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tasks.config import parse_line
from tasks.errors import ConfigError
from tasks.kind import Kind
from tasks.kinds import kind_of, kinds
from tasks.known_kinds import GROUP, KINDS_DIR, KindPlace, _installed, known_kinds

TOY = Path(__file__).parent / "brightness"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of kinds, empty."""
    monkeypatch.setenv(KINDS_DIR, str(tmp_path))
    return tmp_path


def test_every_kind_that_ships_is_whole() -> None:
    assert [kind.check().name for kind in kinds()] == sorted(kind.name for kind in kinds())
    assert "detection" in known_kinds()


def test_a_line_of_an_unknown_kind_is_told_which_there_are() -> None:
    line = {"line": "some-line", "kind": "telepathy", "classes": ["a"], "recipe": {"name": "x"},
            "gates": [{"metric": "AP50", "at_least": 0.5}]}  # fmt: skip
    ships = "kind: kind 'telepathy': no such kind of line; expected one of: classification, detection"
    with pytest.raises(ConfigError, match=ships):
        parse_line(line, "test")


def test_a_folder_is_a_kind(folder: Path) -> None:
    shutil.copytree(TOY, folder / "brightness")
    (folder / "not-a-kind").mkdir()
    assert [kind.name for kind in kinds()][-1] == "brightness"
    assert kind_of("brightness").exports is None
    assert kind_of("brightness").expectations(Path("shipped")) == folder / "brightness" / "expectations"
    assert kind_of("detection").expectations(Path("shipped")) == Path("shipped")


def test_an_installed_package_is_a_kind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(TOY, tmp_path / "labs_own_kind")
    about = tmp_path / "labs_own_kind-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: labs-own-kind\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(f"[{GROUP}]\nlabs_own = labs_own_kind\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    _installed.cache_clear()
    try:
        assert kind_of("labs_own").labels.CONTROL.tag == "Choices"
        (about / "entry_points.txt").write_text(f"[{GROUP}]\nlabs_own = no_such_package\n")
        _installed.cache_clear()
        with pytest.raises(ConfigError, match="entry point labs_own = 'no_such_package'"):
            known_kinds()
    finally:
        _installed.cache_clear()


def test_no_folder_may_stand_in_for_a_kind_that_ships(folder: Path) -> None:
    shutil.copytree(TOY, folder / "detection")
    with pytest.raises(ConfigError, match="kind 'detection': is there twice"):
        known_kinds()
    assert kind_of("detection").place.folder != folder / "detection"


def test_a_kind_that_lacks_something_is_told_all_of_it(tmp_path: Path) -> None:
    room = tmp_path / "hollow"
    shutil.copytree(TOY, room)
    (room / "metrics.py").unlink()
    (room / "labels.py").write_text("CONTROL = None\n")
    place = KindPlace("hollow", "nightscope_kinds.hollow", room, loose=True)
    with pytest.raises(ConfigError) as error:
        Kind(place).check()
    assert "has no metrics.py" in str(error.value)
    assert "labels.py has no read_region, write_objects" in str(error.value)


def test_a_setting_that_names_no_folder_is_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(KINDS_DIR, str(tmp_path / "nowhere"))
    with pytest.raises(ConfigError, match="is not a folder"):
        known_kinds()
