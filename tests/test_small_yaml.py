"""YAML that would take the machine down is refused with a clear error, and only its own line suffers."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tasks.cli.output import parse_changes
from tasks.config import Settings, dag_id_of, load_line, load_lines
from tasks.errors import ConfigError
from tasks.session import open_session
from tasks.small_yaml import MOST_DEPTH, read_yaml
from tasks.steps.ingest import _right_lines

BOMB = "a0: &a0 [x, x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 12))

STRANGE = {
    "alias bomb": BOMB,
    "one alias": "a: &x 1\nb: *x\n",
    "an anchor alone": "a: &x 1\n",
    "merge keys": "a: &x {b: 1}\nc: {<<: *x}\n",
    "deep lists": "a: " + "[" * 100_000,
    "deep dicts": "".join(f"{' ' * n}a:\n" for n in range(200)),
    "closed deep lists": "a: " + "[" * 30 + "]" * 30,
    "too long": "a: " + "x" * 300_000,
    "an object": "a: !!python/object/apply:os.getcwd []",
    "an integer of 5000 digits": "a: " + "9" * 5000,
    "a date that is none": "a: 2026-13-45",
    "no YAML": "a: [1",
    "a control character": "a: \x1b[2J",
}


@pytest.mark.parametrize("name", STRANGE)
def test_refused_soon_and_in_our_words(name: str) -> None:
    began = time.monotonic()
    with pytest.raises(ConfigError, match=r"^some\.yaml: "):
        read_yaml(STRANGE[name], "some.yaml")
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("name", STRANGE)
def test_a_broken_line_harms_no_other(name: str, tmp_path: Path) -> None:
    good = (Path(__file__).parent.parent / "dags" / "lines" / "sperm-detector.yaml").read_text()
    (tmp_path / "sperm-detector.yaml").write_text(good)
    (tmp_path / "bad.yaml").write_text(STRANGE[name])
    (tmp_path / "not-text.yaml").write_bytes(b"\xff\xfe\xff")
    (tmp_path / "folder.yaml").mkdir()
    with pytest.raises(ConfigError, match=r"bad\.yaml"):
        load_line("bad", tmp_path)
    with pytest.raises(ConfigError, match=r"bad\.yaml.*not-text\.yaml"):
        load_lines(tmp_path)
    found = _right_lines(open_session(Settings(lines_dir=tmp_path)))
    assert [line.line for line in found] == ["sperm-detector"]


@pytest.mark.parametrize("name", STRANGE)
def test_values_of_one_run(name: str) -> None:
    with pytest.raises(ConfigError, match=r"^--set lr0: "):
        parse_changes([f"lr0={STRANGE[name]}"])


def test_what_people_write_is_read() -> None:
    assert read_yaml("a: {b: [1, 2.5, x, true]}\n# said\nc: 'd: *e'\n", "x") == {
        "a": {"b": [1, 2.5, "x", True]},
        "c": "d: *e",
    }
    depth = MOST_DEPTH - 1
    assert read_yaml("[" * depth + "]" * depth, "x")
    assert parse_changes(["epochs=3", "note=a=b"]) == {"epochs": 3, "note": "a=b"}


def test_a_dag_of_a_file_with_any_name_has_an_id_that_airflow_takes() -> None:
    assert dag_id_of("retrain", "my line (copy)") == "retrain_my_line__copy_"
    assert dag_id_of("retrain", "sperm-detector") == "retrain_sperm_detector"


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"name": "detection-from-coco"}, "name: cannot be set, say recipe=<name>"),
        ({"seed": True}, "seed"),
        ({"seed": "1"}, "seed"),
        ({"gate.AP50.sperm.at_least": True}, "expected a number, found true"),
        ({"gate.AP50.sperm.at_least": float("nan")}, "finite"),
        ({"gate.AP50.sperm.at_least": float("inf")}, "finite"),
        ({"gate.AP50.sperm.at_least": "1e400"}, "finite"),
        ({"evaluation.resamples": True}, "expected a number, found true"),
        ({"evaluation.resamples": 10**9}, "20000"),
        ({"evaluation.small_px": float("inf")}, "finite"),
        ({"evaluation.resamples": 10**400}, "a huge number"),
    ],
)
def test_other_values_of_a_run(changes: dict[str, object], fault: str, tmp_path: Path) -> None:
    good = Path(__file__).parent.parent / "dags" / "lines"
    with pytest.raises(ConfigError, match=fault):
        load_line("sperm-detector", good).with_changes(changes)
