"""Has a dataset enough of everything the line asks for?"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tasks.config import MIN_GROUPS, Line
from tasks.errors import InsufficientData
from tasks.kind import Kind
from tasks.lake import Lake
from tasks.schemas import SPLITS, Oid
from tasks.validation.suites import SuiteResult, run_suite
from tasks.validation.tables import data_frame

if TYPE_CHECKING:
    import pyarrow as pa

SUITE = "dataset"
_COLUMNS = ("requirement", "what", "have", "need", "short")

Row = dict[str, Any]


def label_counts(objects: Iterable[str], kind: Kind) -> Counter[str]:
    """Labels by class over the `objects` column (JSON strings) of accepted annotations or a manifest."""
    counted = kind.checks.counted
    return Counter(item["label"] for text in objects for item in counted(json.loads(text)))


def overall_requirements(line: Line, kind: Kind, accepted: pa.Table) -> list[Row]:
    """What the line asks for before its data is split."""
    return _overall(line, accepted, label_counts(accepted.column("objects").to_pylist(), kind))


def split_requirements(line: Line, kind: Kind, rows: pa.Table) -> list[Row]:
    """What the line asks of a split dataset: `overall_requirements`, and those of train and test each."""
    own: dict[str, list[str]] = {split: [] for split in SPLITS}
    for split, text in zip(rows.column("split").to_pylist(), rows.column("objects").to_pylist(), strict=True):
        own[split].append(text)
    labels = {split: label_counts(texts, kind) for split, texts in own.items()}
    found = _overall(line, rows, sum(labels.values(), Counter()))
    for split in ("train", "test"):
        taken = kind.checks.is_learned_from
        frames = sum(taken(json.loads(text)) for text in own[split]) if split == "train" else len(own[split])
        found.append(_requirement(f"{split}/frames", f"labelled frames in {split}", frames, 1))
        found += [
            _requirement(f"{split}/labels/{name}", f"labels of class {name} in {split}", labels[split][name], need)
            for name, need in line.minimums.labels_per_split.items()
        ]
    return found


def _overall(line: Line, rows: pa.Table, labels: Mapping[str, int]) -> list[Row]:
    recordings, groups = _distinct(rows, "recording_id"), _distinct(rows, "group")
    own = "donor or recording" if line.splits.group == "donor" else "recording"
    found = [
        _requirement("recordings", "recordings with accepted labels", recordings, line.minimums.recordings),
        _requirement("groups", f"groups to split by ({own})", groups, MIN_GROUPS),
    ]
    return found + [
        _requirement(f"labels/{name}", f"labels of class {name}", labels.get(name, 0), need)
        for name, need in line.minimums.labels.items()
    ]


def check_requirements(lake: Lake, requirements: Sequence[Row]) -> tuple[SuiteResult, list[str]]:
    """Run the dataset suite.

    Returns:
        Its result, and a sentence for each thing of which there is not enough.
    """
    table = data_frame(requirements, _COLUMNS)
    result = run_suite(SUITE, table, row_id="requirement", parameters={}, folder=lake.settings.expectations_dir)
    rows = {row["requirement"]: row for row in requirements}
    return result, [checks[0].reason.format_map(rows[name]) for name, checks in result.failures.items()]


def check_dataset(lake: Lake, line: Line, kind: Kind, rows: pa.Table) -> Oid:
    """Check a split dataset, given as manifest rows, against the line's minimums.

    Returns:
        Blob: the suite's result as JSON.

    Raises:
        InsufficientData: Naming everything of which there is not enough, and how much is there.
    """
    result, missing = check_requirements(lake, split_requirements(line, kind, rows))
    if missing:
        raise insufficient(line, missing)
    return lake.blobs.put_json(result.as_json())


def insufficient(line: Line, missing: Sequence[str]) -> InsufficientData:
    """The error that says what a line lacks."""
    return InsufficientData(
        f"line {line.line}: too little data to learn from: {'; '.join(missing)}",
        fix="label more frames or add more recordings (of other donors); the validation report lists what is set aside",
    )


def _requirement(name: str, what: str, have: int, need: int) -> Row:
    return {"requirement": name, "what": what, "have": have, "need": need, "short": max(0, need - have)}


def _distinct(rows: pa.Table, column: str) -> int:
    return len(set(rows.column(column).to_pylist()))
