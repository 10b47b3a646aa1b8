"""Dataset versions: the same rows are the same version; about.json last."""

from __future__ import annotations

import hashlib
import random
from typing import Any

import pyarrow as pa
import pytest

from tasks.errors import ConfigError, DataError, IntegrityError, NotFound
from tasks.lake import Lake
from tasks.lake.datasets import COLUMNS, encode

LINE = "sperm-detector"


def rows(numbers: list[int], metadata: dict[str, str] | None = None, **changes: Any) -> pa.Table:
    table = pa.Table.from_pylist(
        [
            {
                "split": "test" if number % 5 == 0 else "train", "group": f"donor:{number % 3}",
                "recording_id": "0" * 64, "recording_name": "S 1.mp4", "frame_index": number,
                "frame_oid": f"{number:064x}", "media_type": "image/jpeg",
                "pts_s": None if number == 3 else number / 25, "width_px": 640,
                "height_px": 480, "annotation_id": f"1-{number}", "revision_id": f"{number:064x}", "objects": "[]",
                **changes,
            }
            for number in numbers
        ]
    )  # fmt: skip
    return table.replace_schema_metadata(metadata or {"line": LINE, "kind": "detection"})


def test_the_same_rows_in_any_order_and_form_are_the_same_version() -> None:
    numbers = list(range(200))
    first = encode(rows(numbers))
    random.Random(0).shuffle(numbers)
    shuffled = rows(numbers)
    assert encode(shuffled) == first
    assert encode(shuffled.select(sorted(shuffled.schema.names))) == first
    assert encode(pa.concat_tables([shuffled.slice(0, 7), shuffled.slice(7)])) == first
    assert encode(shuffled.set_column(0, "split", shuffled.column("split").cast(pa.large_string()))) == first
    assert encode(shuffled.set_column(0, "split", shuffled.column("split").dictionary_encode())) == first
    assert encode(shuffled.replace_schema_metadata({"kind": "detection", "line": LINE})) == first


def test_any_difference_is_another_version() -> None:
    first = encode(rows([1, 2]))
    assert encode(rows([1, 2, 3])) != first
    assert encode(rows([1, 2], objects="[1]")) != first
    assert encode(rows([1, 2], {"line": LINE, "kind": "segmentation"})) != first


def test_save_and_load(lake: Lake) -> None:
    version = lake.datasets.save(LINE, rows([2, 1]), {"snapshots": {"frames": 12}})
    manifest = lake.datasets.load(LINE, version)
    assert manifest.version == version and manifest.line == LINE
    assert manifest.rows.column("frame_index").to_pylist() == [1, 2]
    assert manifest.rows.schema.names == list(COLUMNS)
    assert manifest.rows.schema.metadata == {b"kind": b"detection", b"line": LINE.encode()}
    assert manifest.about == {"line": LINE, "snapshots": {"frames": 12}}
    stored = lake.store.get_bytes(f"datasets/{LINE}/{version}/manifest.parquet")
    assert hashlib.sha256(stored).hexdigest() == version


def test_a_version_is_found_by_its_first_digits(lake: Lake) -> None:
    for line, version in (("a-line", "abcd1"), ("a-line", "abcd2"), ("another", "abcd3"), ("a-line", "abce")):
        lake.store.put_bytes(f"datasets/{line}/{version.ljust(64, '0')}/about.json", b"{}")
    lake.store.put_bytes(f"datasets/a-line/{'abcf'.ljust(64, '0')}/manifest.parquet", b"of a killed writer")
    resolve = lake.datasets.resolve
    assert resolve("a-line", "abcd1") == resolve("a-line", "abcd1000") == "abcd1".ljust(64, "0")
    assert resolve("another", "abcd") == "abcd3".ljust(64, "0"), "other lines' versions do not count"
    with pytest.raises(ConfigError, match=r"abcd: 2 dataset versions begin so.*abcd10+ \(a-line\), abcd20+ \(a-line\)"):
        resolve("a-line", "abcd")
    for nobody in ("abcf", "1234"):
        with pytest.raises(NotFound, match=rf"no dataset version begins with {nobody}; expected one of: abcd1"):
            resolve("a-line", nobody)
    for bad in ("abc", "ABCD", "../x", "latest"):
        with pytest.raises(ConfigError, match="expected its first 4 hex digits"):
            resolve("a-line", bad)


def test_saving_again_writes_nothing(lake: Lake) -> None:
    version = lake.datasets.save(LINE, rows([1, 2]), {"night": 1})
    before = [(info.key, info.etag) for info in lake.store.list("datasets/")]
    assert lake.datasets.save(LINE, rows([2, 1]), {"night": 2}) == version
    assert [(info.key, info.etag) for info in lake.store.list("datasets/")] == before
    assert lake.datasets.versions(LINE) == [version]


def test_without_about_it_does_not_exist(lake: Lake) -> None:
    """A writer killed between the two files leaves no version; doing it again completes it."""
    version = lake.datasets.save(LINE, rows([1, 2]), {})
    lake.store.remove(f"datasets/{LINE}/{version}/about.json")
    assert not lake.datasets.exists(LINE, version)
    assert lake.datasets.versions(LINE) == []
    with pytest.raises(NotFound, match="no dataset version"):
        lake.datasets.load(LINE, version)
    assert lake.datasets.save(LINE, rows([1, 2]), {}) == version
    assert lake.datasets.exists(LINE, version)


def test_a_changed_manifest_is_found(lake: Lake) -> None:
    version = lake.datasets.save(LINE, rows([1, 2]), {})
    lake.store.put_bytes(f"datasets/{LINE}/{version}/manifest.parquet", encode(rows([1, 3])))
    with pytest.raises(IntegrityError, match=version):
        lake.datasets.load(LINE, version)


def test_lines_are_apart(lake: Lake) -> None:
    version = lake.datasets.save(LINE, rows([1]), {})
    assert not lake.datasets.exists("sperm-detector-2", version)
    assert lake.datasets.versions("sperm") == []


def test_wrong_rows_are_refused() -> None:
    with pytest.raises(DataError, match="no column objects"):
        encode(rows([1]).drop_columns(["objects"]))
    with pytest.raises(DataError, match="do not fit"):
        encode(rows([1], frame_index="one"))


def test_other_columns_are_kept_by_name() -> None:
    table = rows([1, 2])
    more = table.append_column("zoom", pa.array([1, 2])).append_column("annotator", pa.array(["a", "b"]))
    swapped = table.append_column("annotator", pa.array(["a", "b"])).append_column("zoom", pa.array([1, 2]))
    assert encode(more) == encode(swapped) != encode(table)
