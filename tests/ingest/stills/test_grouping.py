"""Which stills belong together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tasks.errors import ConfigError
from tasks.ingest.stills.adding import add_stills
from tasks.ingest.stills.grouping import groups_of
from tasks.ingest.stills.sources import Unread
from tasks.lake import Lake
from tests.ingest.stills.pictures import write

PICTURES = ("D1/left_1.png", "D1/left_2.png", "D2/right_1.png")


@dataclass
class Set:
    """A source that holds nothing but names and tables."""

    pictures: Sequence[str] = PICTURES
    tables: Sequence[str] = ()
    texts: dict[str, bytes] = field(default_factory=dict)
    name: str = "set"
    others: int = 0

    def read(self, wanted: Sequence[str]) -> Iterator[tuple[str, bytes | Unread]]:
        raise NotImplementedError

    def table(self, path: str) -> bytes:
        return self.texts[path]


def with_table(text: str, name: str = "labels.csv", **more: str) -> Set:
    texts = {name: text.encode("utf-8-sig"), **{f"{key}.csv": value.encode() for key, value in more.items()}}
    return Set(tables=list(texts), texts=texts)


def test_by_folder() -> None:
    found = groups_of(Set(pictures=("a.png", *PICTURES, "x/D1/b.png")), "folder").of
    assert found == {
        "a.png": "set", "D1/left_1.png": "D1", "D1/left_2.png": "D1", "D2/right_1.png": "D2", "x/D1/b.png": "D1",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("pattern", "groups"),
    [
        (r"(D\d)/", ["D1", "D1", "D2"]),
        (r"([a-z]+)_(?P<group>\d)", ["1", "2", "1"]),
        (r"/(?:(left)|right)", ["left", "left", None]),
    ],
)
def test_by_pattern(pattern: str, groups: list[str | None]) -> None:
    assert list(groups_of(Set(), pattern).of.values()) == groups


@pytest.mark.parametrize(
    ("pattern", "word"),
    [("(left)", "does not match 1 of 3 pictures, e.g. 'D2/right_1.png'"), ("left", "parentheses"), ("(", "no regular")],
)
def test_patterns_that_do_not_answer(pattern: str, word: str) -> None:
    with pytest.raises(ConfigError) as caught:
        groups_of(Set(), pattern)
    assert word in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "file,who\nD1/left_1.png,A\nD1/left_2.png,A\nD2/right_1.png,B\n",
        "who;Filename\nA;left_1\nA;left_2.png\nB;D2\\right_1.png\n",
        "image_id\twho\nset/D1/left_1.png\tA\n./D1/left_2.png\tA\nset/D2/right_1.png\tB\n",
        "id,file,who\n1,left_1.png,A\n2,left_2.png,A\n3,right_1.png,B\n",
    ],
)
def test_by_a_column(text: str) -> None:
    assert list(groups_of(with_table(text), "csv:who").of.values()) == ["A", "A", "B"]


def test_an_empty_cell_is_a_group_of_its_own_and_absent_files_are_named() -> None:
    text = "file,who\nleft_1.png,\nleft_2.png,A\nright_1.png,B\nelsewhere.png,C\n"
    found = groups_of(with_table(text), "csv:who")
    assert list(found.of.values()) == [None, "A", "B"] and found.absent == ("elsewhere.png",)


_WHOLE = "file,who\nleft_1.png,A\nleft_2.png,A\nright_1.png,B\n"


@pytest.mark.parametrize(
    ("source", "rule", "word"),
    [
        (Set(), "csv:who", "no CSV within or beside"),
        (with_table(_WHOLE), "csv:donor", "no column 'donor'"),
        (with_table(_WHOLE), "csv:", "csv:COLUMN"),
        (with_table(_WHOLE, other=_WHOLE), "csv:who", "several CSV files have this column"),
        (with_table("title,who\nleft_1.png,A\n"), "csv:who", "no column names the pictures"),
        (with_table("file,who\nleft_1.png,A\n"), "csv:who", "has no row for 2 of 3 pictures"),
        (with_table(_WHOLE + "left_1.png,B\n"), "csv:who", "stands twice, in different groups"),
        (with_table("file,who\nleft_1.png\n"), "csv:who", "row 2 has not 2 cells"),
    ],
)
def test_tables_that_do_not_answer(source: Set, rule: str, word: str) -> None:
    with pytest.raises(ConfigError) as caught:
        groups_of(source, rule)
    assert word in str(caught.value)


def test_one_of_several_tables_is_named() -> None:
    source = with_table(_WHOLE, other="file,who\nleft_1.png,X\nleft_2.png,X\nright_1.png,X\n")
    assert set(groups_of(source, "csv:other.csv:who").of.values()) == {"X"}
    assert len(groups_of(with_table(_WHOLE, broken="\xff"), "csv:who").of) == 3, "what is broken is not meant"


def test_a_name_that_may_mean_several() -> None:
    source = with_table("file,who\na.png,A\n")
    source.pictures = ("x/a.png", "y/a.png")
    with pytest.raises(ConfigError, match="may mean several"):
        groups_of(source, "csv:who")


def test_a_table_beside_the_folder(lake: Lake, tmp_path: Path) -> None:
    write(tmp_path / "set" / "a.png", 1)
    write(tmp_path / "set" / "b.png", 2)
    (tmp_path / "labels.csv").write_text("file,slide\na.png,S1\nb.png,S1\n")
    assert add_stills(lake, [str(tmp_path / "set")], group_by="csv:slide").groups == 1
    with pytest.raises(ConfigError, match="control or invisible"):
        (tmp_path / "labels.csv").write_text("file,slide\na.png,S\x1b1\nb.png,S1\n")
        add_stills(lake, [str(tmp_path / "set")], group_by="csv:slide")
