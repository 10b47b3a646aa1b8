"""Tables: whole commits, exact values, filters, idempotent appends, many writers, sudden deaths."""

from __future__ import annotations

import logging
import subprocess
import sys
import textwrap
import time
from datetime import UTC
from pathlib import Path

import pyarrow as pa
import pytest
from pydantic import create_model

from tasks.config import Settings
from tasks.errors import ConfigError, DataError, StorageUnavailable
from tasks.lake import Lake, open_lake, table_schemas
from tasks.lake.object_store import ObjectStore
from tasks.schemas import Annotation, Frame, Frozen, Prediction, QuarantineItem, Recording, now
from tasks.stack.ports import any_port
from tests.lake.nouns import AT, annotation, before_tables_retired, frame, item

ROOT = Path(__file__).parents[2]


def spawn(settings: Settings, script: str) -> subprocess.Popen[str]:
    """Run a script that finds an open `lake` and the nouns of this folder."""
    head = f"""
        import sys
        sys.path.insert(0, {str(ROOT)!r})
        from tasks.config import Settings
        from tasks.lake import open_lake
        from tests.lake.nouns import *
        dump = {settings.model_dump()!r}
        dump["s3"]["secret_key"] = {settings.s3.secret_key.get_secret_value()!r}
        lake = open_lake(Settings(**dump))
    """
    code = "from pathlib import *\nfrom pydantic import SecretStr\n" + textwrap.dedent(head) + textwrap.dedent(script)
    return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)


def test_rows_come_back_as_they_were(lake: Lake) -> None:
    rows = [annotation(number, boxes=number) for number in range(3)]
    assert lake.tables.append("annotations", rows) == 3
    assert lake.tables.rows("annotations", Annotation) == rows
    read = lake.tables.rows("annotations", Annotation)[0].updated_at
    assert read == AT and read.utcoffset() == UTC.utcoffset(None)


def test_the_log_holds_no_line_for_each_table_opened(lake: Lake, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        lake.tables.append("annotations", [annotation(0, boxes=1)])
        assert len(lake.tables.rows("annotations", Annotation)) == 1
    assert not [record for record in caplog.records if record.name.startswith("pyiceberg")]


def test_a_table_that_is_not_there_yet_is_empty(lake: Lake) -> None:
    empty = lake.tables.scan("frames")
    assert empty.num_rows == 0 and empty.schema.names == list(Frame.model_fields)
    assert lake.tables.rows("frames", Frame) == []
    assert lake.tables.snapshot_id("frames") is None


def test_no_rows_no_commit(lake: Lake) -> None:
    assert lake.tables.append("frames", []) == 0
    assert lake.tables.snapshot_id("frames") is None
    lake.tables.append("frames", [frame(1)])
    before = lake.tables.snapshot_id("frames")
    assert before is not None
    lake.tables.append("frames", [])
    assert lake.tables.snapshot_id("frames") == before
    lake.tables.append("frames", [frame(2)])
    assert lake.tables.snapshot_id("frames") not in (None, before)


def test_rows_stay_in_the_order_of_appends(lake: Lake) -> None:
    for number in (5, 3, 9, 1):
        lake.tables.append("frames", [frame(number), frame(number + 100)])
    indices = lake.tables.scan("frames", columns=["frame_index"]).column(0).to_pylist()
    assert indices == [5, 105, 3, 103, 9, 109, 1, 101]


def test_where(lake: Lake) -> None:
    lake.tables.append("frames", [frame(n, line) for n in range(4) for line in ("a-line", "b-line")])
    lake.tables.append("quarantine", [item(1), item(2, "a-line"), item(3, "b-line")])

    def found(where: dict[str, object]) -> list[int]:
        return lake.tables.scan("frames", where, ["frame_index"]).column(0).to_pylist()

    assert found({"line": "a-line"}) == [0, 1, 2, 3]
    assert found({"line": "a-line", "frame_index": [1, 3, 77]}) == [1, 3]
    assert found({"line": ("a-line", "b-line"), "frame_index": 2}) == [2, 2]
    assert found({"frame_index": []}) == []
    assert found({"line": None}) == []
    assert lake.tables.scan("quarantine", {"line": None}).num_rows == 1
    assert lake.tables.scan("quarantine", {"line": [None, "b-line"]}).num_rows == 2
    assert lake.tables.scan("frames", {"line": "a-line"}, ["oid", "line"]).schema.names == ["oid", "line"]


def test_what_is_unknown_is_refused(lake: Lake) -> None:
    with pytest.raises(ConfigError, match="no such table"):
        lake.tables.scan("framse")
    with pytest.raises(ConfigError, match="no column colour"):
        lake.tables.scan("frames", {"colour": 1})
    with pytest.raises(DataError, match="expected rows of Frame; found Annotation"):
        lake.tables.append("frames", [annotation(1)])
    with pytest.raises(DataError, match="no column colour"):
        lake.tables.append("frames", pa.table({"colour": [1]}))


def test_arrow_rows_are_welcome(lake: Lake) -> None:
    lake.tables.append("frames", [frame(1)])
    rows = lake.tables.scan("frames")
    lake.tables.append("frames", rows)
    lake.tables.append("frames", pa.table({"line": ["x-line"], "frame_index": pa.array([3], pa.int32())}))
    assert lake.tables.rows("frames", Frame, {"line": "sperm-detector"}) == [frame(1), frame(1)]
    assert lake.tables.scan("frames", {"line": "x-line"}).column("oid").to_pylist() == [None]


def test_a_key_makes_appending_idempotent(lake: Lake) -> None:
    rows = [frame(1), frame(2), frame(1)]
    assert lake.tables.append("frames", rows, key=("line", "frame_index")) == 2
    assert lake.tables.append("frames", rows, key=("line", "frame_index")) == 0
    assert lake.tables.append("frames", [frame(2), frame(3)], key=("line", "frame_index")) == 1
    assert lake.tables.rows("frames", Frame) == [frame(1), frame(2), frame(3)]


def test_another_process_sees_every_commit(lake: Lake) -> None:
    lake.tables.append("frames", [frame(1)])
    other = open_lake(lake.settings.model_copy(update={"state_dir": lake.settings.state_dir}))
    assert other.tables.rows("frames", Frame) == [frame(1)]
    lake.tables.append("frames", [frame(2)])
    assert other.tables.rows("frames", Frame) == [frame(1), frame(2)]


def test_the_cache_may_be_deleted_or_damaged(lake: Lake) -> None:
    lake.tables.append("frames", [frame(1)])
    assert lake.tables.rows("frames", Frame) == [frame(1)]
    for path in (lake.settings.cache_dir / "tables").rglob("*"):
        if path.is_file():
            path.write_bytes(b"broken")
    assert lake.tables.rows("frames", Frame) == [frame(1)]


def test_a_noun_may_gain_a_field(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    class Older(Frozen):
        item_id: str
        subject: str

    monkeypatch.setitem(table_schemas.TABLES, "quarantine", Older)
    lake.tables.append("quarantine", [Older(item_id="1", subject="old")])

    class Newer(Frozen):
        item_id: str
        reason: str | None = None
        subject: str
        severity: int = 3

    monkeypatch.setitem(table_schemas.TABLES, "quarantine", Newer)
    fresh = open_lake(lake.settings)
    assert fresh.tables.rows("quarantine", Newer) == [Newer(item_id="1", subject="old")]
    fresh.tables.append("quarantine", [Newer(item_id="2", reason="why", subject="new", severity=5)])
    assert fresh.tables.scan("quarantine", {"severity": 5}).num_rows == 1
    assert fresh.tables.rows("quarantine", Newer) == [
        Newer(item_id="1", subject="old"), Newer(item_id="2", reason="why", subject="new", severity=5)
    ]  # fmt: skip

    monkeypatch.setitem(table_schemas.TABLES, "quarantine", Older)  # an older version beside a newer one
    fresh.tables.append("quarantine", [Older(item_id="3", subject="old")])
    assert [row.item_id for row in fresh.tables.rows("quarantine", Older)] == ["1", "2", "3"]


def test_a_lake_from_before_grey_ranges_goes_on(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    fields = {name: (field.annotation, field) for name, field in Recording.model_fields.items() if "grey" not in name}
    before = create_model("Before", **fields)  # type: ignore[call-overload]
    old = Recording(
        recording_id="0" * 64, name="a.mkv", stem="a", landing_key="a.mkv", container="matroska", codec="ffv1",
        width_px=8, height_px=8, frames_announced=1, frames_decoded=1, pts_oid="2" * 64, size_bytes=1,
        ingested_at=now(),
    )  # fmt: skip
    with monkeypatch.context() as then:
        then.setitem(table_schemas.TABLES, "recordings", before)
        lake.tables.append("recordings", [before(**old.model_dump(include=set(fields)))])
        assert "grey_low" not in lake.tables.scan("recordings").column_names
    fresh = open_lake(lake.settings)
    assert fresh.tables.rows("recordings", Recording) == [old] and old.grey_range is None

    deep = old.model_copy(update={"recording_id": "1" * 64, "grey_low": 17.0, "grey_high": 4001.0})
    fresh.tables.append("recordings", [deep])
    assert fresh.tables.rows("recordings", Recording) == [old, deep] and deep.grey_range == (17, 4001)


def test_many_small_appends_are_compacted(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.lake.tables.MAX_FILES", 5)
    for number in range(8):
        lake.tables.append("frames", [frame(number)], key="frame_index")
    assert [row.frame_index for row in lake.tables.rows("frames", Frame)] == list(range(8))
    found = lake.tables._iceberg.find("frames")
    assert found is not None and found.inspect.files().num_rows == 3


def test_rows_deleted_by_another_tool_stay_deleted(lake: Lake) -> None:
    """Spark or PyIceberg may maintain the tables: what they did counts."""
    lake.tables.append("frames", [frame(1), frame(2), frame(3)])
    lake.tables.append("frames", [frame(4)])
    table = lake.tables._iceberg._load("frames")
    table.delete("frame_index == 2")
    assert sorted(row.frame_index for row in lake.tables.rows("frames", Frame)) == [1, 3, 4]


def test_columns_renamed_by_another_tool_are_read_by_pyiceberg(lake: Lake) -> None:
    lake.tables.append("frames", [frame(1)])
    with lake.tables._iceberg._load("frames").update_schema() as update:
        update.rename_column("phash", "was_phash")
    table = lake.tables.scan("frames", {"frame_index": 1})
    assert table.column("oid").to_pylist() == [frame(1).oid]
    assert table.column("phash").to_pylist() == [None]


def test_two_processes_append_at_once(lake: Lake) -> None:
    """Also the catalog and the table are made by both at once."""
    script = """
        for number in range(8):
            lake.tables.append("frames", [frame(START + number)])
            lake.tables.append("quarantine", [item(number)], key="item_id")
    """
    writers = [spawn(lake.settings, script.replace("START", str(start))) for start in (100, 200, 300)]
    assert [writer.wait() for writer in writers] == [0, 0, 0]
    indices = [row.frame_index for row in lake.tables.rows("frames", Frame)]
    assert sorted(indices) == [start + number for start in (100, 200, 300) for number in range(8)]
    subjects = [row.subject for row in lake.tables.rows("quarantine", QuarantineItem)]
    assert sorted(subjects) == [f"clip {number}.mp4" for number in range(8)]


def test_a_killed_writer_leaves_whole_commits_only(lake: Lake) -> None:
    script = """
        import itertools
        for number in itertools.count():
            lake.tables.append("frames", [frame(number * 10 + n) for n in range(10)], key="frame_index")
            print(number, flush=True)
    """
    for round_number in range(3):
        writer = spawn(lake.settings, script)
        assert writer.stdout is not None
        written = int(writer.stdout.readline())
        time.sleep(0.02 * round_number)  # somewhere else in the middle each time
        writer.kill()
        rest = writer.stdout.read().split()
        written = int(rest[-1]) if rest else written
        writer.wait()
        indices = [row.frame_index for row in lake.tables.rows("frames", Frame)]
        assert len(indices) % 10 == 0 and sorted(indices) == list(range(len(indices)))
    lake.tables.append("frames", [frame(10**6)])
    assert lake.tables.rows("frames", Frame, {"frame_index": 10**6}) == [frame(10**6)]


def test_a_forked_child_appends_too(lake: Lake) -> None:
    import os

    lake.tables.append("frames", [frame(1)])
    pid = os.fork()
    if pid == 0:  # pragma: no cover
        try:
            lake.tables.append("frames", [frame(2)])
            os._exit(0)
        except BaseException:
            os._exit(1)
    lake.tables.append("frames", [frame(3)])
    assert os.waitpid(pid, 0)[1] == 0
    assert sorted(row.frame_index for row in lake.tables.rows("frames", Frame)) == [1, 2, 3]


def test_storage_that_is_down(settings: Settings) -> None:
    s3 = settings.s3.model_copy(update={"endpoint": f"http://127.0.0.1:{any_port()}"})
    lake = open_lake(settings.model_copy(update={"s3": s3}))
    with pytest.raises(StorageUnavailable, match=s3.endpoint):
        lake.tables.append("frames", [frame(1)])


def test_a_damaged_catalog_says_so(settings: Settings) -> None:
    settings.state_dir.mkdir(parents=True)
    (settings.state_dir / "catalog.db").write_bytes(b"this is not a database" * 100)
    with pytest.raises(StorageUnavailable, match="atalog"):
        open_lake(settings).tables.scan("frames")


def test_a_row_that_is_no_noun_names_its_faults(lake: Lake) -> None:
    lake.tables.append("frames", pa.table({"line": ["x-line"]}))
    with pytest.raises(DataError, match=r"row 0 is no Frame: .*oid: Field required"):
        lake.tables.rows("frames", Frame)


def test_reading_what_is_known_fetches_no_rows(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    """A night with nothing new asks the catalog which state a table is in, and reads the rows from this machine."""
    lake.tables.append("frames", [frame(1)])
    lake.tables.scan("frames")
    fetched: list[str] = []
    get = ObjectStore._stream
    monkeypatch.setattr(ObjectStore, "_stream", lambda own, key: (fetched.append(key), get(own, key))[1])
    fresh = open_lake(lake.settings)
    assert fresh.tables.scan("frames").num_rows == 1 and fresh.tables.scan("annotations").num_rows == 0
    assert [key.rsplit("/", 1)[1].endswith(".metadata.json") for key in fetched] == [True]


def test_reading_imports_no_pandas(lake: Lake) -> None:
    lake.tables.append("frames", [frame(1)])
    reader = spawn(
        lake.settings,
        """
        assert lake.tables.scan("frames").num_rows == 1
        print(sorted({name.split(".")[0] for name in sys.modules} & {"pandas", "torch", "duckdb", "ray"}))
        """,
    )
    assert reader.communicate()[0].strip() == "[]" and reader.returncode == 0


def test_a_retired_table_of_an_old_lake_is_read_but_not_written(lake: Lake) -> None:
    old = Prediction(
        line="x-line", model_version="1", recording_id="0" * 64, frame_index=1, frame_oid="1" * 64, predicted_at=AT
    )
    assert lake.tables.rows("predictions", Prediction) == []
    with before_tables_retired():
        lake.tables.append("predictions", [old])
    fresh = open_lake(lake.settings)
    assert fresh.tables.rows("predictions", Prediction) == [old]
    with pytest.raises(ConfigError, match="only read any more"):
        fresh.tables.append("predictions", [old])
    assert fresh.tables.rewrite("predictions", lambda rows: rows.slice(1)) == 1
