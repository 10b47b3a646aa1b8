"""Preparation: databases are whole or not there."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from tasks.errors import StackError
from tasks.stack import prepare
from tasks.stack.layout import Layout

MAKE_TABLE = "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.execute('create table t (x)'); c.commit()"


def migrate(layout: Layout, code: str) -> None:
    def command(database: Path) -> tuple[list[str], dict[str, str]]:
        return [sys.executable, "-c", code, str(database)], {}

    prepare._migrate(layout, "mlflow", layout.mlflow_db, command, os.environ, kept_of(layout))


def kept_of(layout: Layout) -> Path:
    return layout.state_dir / "programs" / "mlflow-0.sqlite3"


def test_a_database_appears_when_it_is_whole(layout: Layout) -> None:
    migrate(layout, MAKE_TABLE)

    assert layout.mlflow_db.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in layout.mlflow_db.parent.iterdir()] == ["mlflow.db"]


def test_a_failed_migration_leaves_no_database(layout: Layout) -> None:
    with pytest.raises(StackError, match=r"mlflow: its database cannot be migrated.*boom"):
        migrate(layout, MAKE_TABLE + "; print('boom'); sys.exit(1)")
    assert not layout.mlflow_db.exists()

    migrate(layout, MAKE_TABLE)

    assert layout.mlflow_db.exists()


def test_a_migrated_database_is_left_alone(layout: Layout) -> None:
    migrate(layout, MAKE_TABLE)

    migrate(layout, "import sys; sys.exit('must not run')")


def test_another_installation_begins_with_the_database_that_the_first_kept(layout: Layout) -> None:
    migrate(layout, MAKE_TABLE)
    layout.mlflow_db.write_bytes(b"a lab's runs")
    layout.mlflow_db.unlink()
    (layout.control_dir / "mlflow.migrated").unlink()

    migrate(layout, "import sys; sys.exit('must not run')")

    assert layout.mlflow_db.read_bytes() == kept_of(layout).read_bytes() != b"a lab's runs"
    assert layout.mlflow_db.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in kept_of(layout).parent.iterdir()] == [kept_of(layout).name]


def test_where_nothing_can_be_kept_databases_are_migrated_all_the_same(layout: Layout) -> None:
    kept_of(layout).parent.touch()  # a file: no folder can be made there

    migrate(layout, MAKE_TABLE)

    assert layout.mlflow_db.exists()


def test_another_release_migrates_the_database_in_place(layout: Layout) -> None:
    migrate(layout, MAKE_TABLE)
    (layout.control_dir / "mlflow.migrated").write_text("0.1")

    migrate(layout, MAKE_TABLE.replace("table t", "table u"))

    assert b"u" in layout.mlflow_db.read_bytes()


def test_label_studio_starts_from_the_kept_database_once(layout: Layout, tmp_path: Path) -> None:
    binary = tmp_path / "env" / "bin" / "label-studio"
    kept = prepare.empty_database(binary)
    kept.parent.mkdir(parents=True)
    kept.write_bytes(b"empty")

    assert prepare.place_label_studio_database(layout, binary)
    own = layout.label_studio_data / prepare.LABEL_STUDIO_DATABASE
    own.write_bytes(b"labels")

    assert not prepare.place_label_studio_database(layout, binary)
    assert own.read_bytes() == b"labels"
    assert own.stat().st_mode & 0o777 == 0o600


def test_label_studio_migrates_itself_where_no_database_is_kept(layout: Layout, tmp_path: Path) -> None:
    assert not prepare.place_label_studio_database(layout, tmp_path / "bin" / "label-studio")


def test_a_tail_has_the_last_lines(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("".join(f"line {n}\n" for n in range(5000)))

    assert prepare.tail(log, 2) == "line 4998\nline 4999"
    assert prepare.tail(tmp_path / "none") == "(no log)"
