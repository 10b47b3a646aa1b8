"""Which revision of an annotation counts, and whose work on a frame."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from tasks.validation import inputs
from tasks.validation.inputs import one_per_frame
from tests.validation.factory import NOON

ROWS = st.builds(
    lambda annotation, frame, minutes, seen, state: {
        "annotation_id": f"1-{annotation}", "recording_id": "r", "frame_index": frame, "state": state,
        "revision_id": f"{annotation}/{frame}/{minutes}/{seen}/{state}",
        "updated_at": NOON + timedelta(minutes=minutes), "synced_at": NOON + timedelta(minutes=seen),
    },
    st.integers(0, 4), st.integers(0, 3), st.integers(0, 5), st.integers(0, 5),
    st.sampled_from(["active", "active", "cancelled", "deleted"]),
)  # fmt: skip

SCHEMA = pa.schema([
    ("annotation_id", pa.string()), ("recording_id", pa.string()), ("frame_index", pa.int64()), ("state", pa.string()),
    ("revision_id", pa.string()), ("updated_at", pa.timestamp("us", "UTC")), ("synced_at", pa.timestamp("us", "UTC")),
])  # fmt: skip


def newest_active(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = inputs.newest_active(pa.Table.from_pylist(rows, schema=SCHEMA)).to_pylist()
    return found


def row(annotation: str, minutes: int, seen: int = 0, state: str = "active", frame: int = 0) -> dict[str, Any]:
    return {
        "annotation_id": annotation, "recording_id": "r", "frame_index": frame, "state": state,
        "revision_id": f"{annotation}{minutes}{state}", "updated_at": NOON + timedelta(minutes=minutes),
        "synced_at": NOON + timedelta(minutes=seen),
    }  # fmt: skip


def test_label_studios_clock_decides_not_the_order_of_arrival() -> None:
    older, newer = row("a", 1, seen=9), row("a", 2, seen=3)
    assert newest_active([newer, older]) == newest_active([older, newer]) == [newer]


def test_a_deletion_that_changed_no_time_is_still_the_newest() -> None:
    assert newest_active([row("a", 1, seen=9, state="deleted"), row("a", 1, seen=3)]) == []


def test_work_that_came_back_counts_again() -> None:
    back = row("a", 3)
    assert newest_active([row("a", 1), row("a", 2, state="cancelled"), back]) == [back]


@given(st.lists(ROWS, max_size=30), st.randoms())
def test_the_order_of_rows_does_not_matter(rows: list[dict[str, Any]], random: Any) -> None:
    shuffled = list(rows)
    random.shuffle(shuffled)
    assert newest_active(rows) == newest_active(shuffled)


@given(st.lists(ROWS, max_size=30))
def test_one_annotation_per_frame_and_none_newer(rows: list[dict[str, Any]]) -> None:
    active = newest_active(rows)
    kept, replaced = one_per_frame(active)
    assert sorted(r["annotation_id"] for r in kept + replaced) == sorted(r["annotation_id"] for r in active)
    best = {r["frame_index"]: r for r in kept}
    assert len(best) == len(kept)
    assert all(r["updated_at"] <= best[r["frame_index"]]["updated_at"] for r in replaced)
