"""Has a dataset enough of everything the line asks for?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tasks.config import MIN_GROUPS, Line
from tasks.errors import InsufficientData
from tasks.kind import Kind
from tasks.kind.label_counts import label_counts, learned_from, rows_of
from tasks.lake import Lake
from tasks.schemas import SPLITS, Oid
from tasks.validation.suites import SuiteResult, run_suite
from tasks.validation.tables import data_frame

if TYPE_CHECKING:
    import pyarrow as pa

SUITE = "dataset"
_COLUMNS = ("requirement", "what", "have", "need", "short")

Row = dict[str, Any]


def overall_requirements(line: Line, kind: Kind, accepted: pa.Table) -> list[Row]:
    """What the line asks for before its data is split."""
    return _overall(line, accepted, label_counts(accepted, kind))


def split_requirements(line: Line, kind: Kind, rows: pa.Table) -> list[Row]:
    """What the line asks of a split dataset: `overall_requirements`, and those of train and test each."""
    own = {split: rows_of(rows, split) for split in SPLITS}
    labels = {split: label_counts(of, kind) for split, of in own.items()}
    found = _overall(line, rows, sum(labels.values(), Counter()))
    for split in ("train", "test"):
        frames = learned_from(own[split], kind) if split == "train" else own[split].num_rows
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
    """Check a split dataset, manifest rows or accepted ones with `split`, against the line's minimums.

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
