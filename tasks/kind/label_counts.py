"""Counts over tables of labelled frames: what validation accepted, or a manifest.

Accepted frames carry what is counted (`labels`, `learned_from`), few different values of many frames. Of a manifest the
objects are parsed.
"""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING

from tasks.kind.kind import Kind

if TYPE_CHECKING:
    import pyarrow as pa


def label_counts(rows: pa.Table, kind: Kind) -> Counter[str]:
    """Labels by class."""
    found: Counter[str] = Counter()
    if "labels" in rows.schema.names:
        for each in rows.column("labels").value_counts().to_pylist():
            for name, count in json.loads(each["values"]).items():
                found[name] += count * each["counts"]
        return found
    counted = kind.checks.counted
    texts = rows.column("objects").to_pylist()
    return Counter(item["label"] for text in texts for item in counted(json.loads(text)))


def rows_of(rows: pa.Table, split: str) -> pa.Table:
    """Those of one split."""
    import pyarrow.compute as pc

    return rows.filter(pc.equal(rows.column("split"), split))


def learned_from(rows: pa.Table, kind: Kind) -> int:
    """How many frames a training takes."""
    if "learned_from" in rows.schema.names:
        return sum(rows.column("learned_from").to_pylist())
    return sum(kind.checks.is_learned_from(json.loads(text)) for text in rows.column("objects").to_pylist())
