"""What passed on earlier nights, so that a night's checks cost what is new.

An annotation of which everything passed (its recording, itself, its frame, all its objects) passes again while it, its
frame and the checks are the same. So a line keeps a record of what passed, in the lake's bucket:

    validations/<line>/passed.parquet    for each annotation a digest of all that was judged, and what is made of it
    validations/<line>/passed.json       signed: the sha256 of the table, by which checks, when all was judged last

**It changes what a night costs, and nothing that comes out**: result, report and table of accepted labels are the same
to the byte without it (`tests/validation/test_passed_record.py`). Whatever is wrong with it (none yet, other checks,
other bytes, not signed by a key that is trusted here) means that everything is judged again. So does its age: that a
frame's image still lies in the lake is no matter of what was judged, and is asked once a week.

Recordings, minimums, and which of several people counts are judged anew every night. A kind whose checks compare frames
with each other has no record (`Kind.judged_alone`).
"""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass
from datetime import datetime, timedelta
from io import BytesIO
from typing import TYPE_CHECKING

from tasks.config import Line
from tasks.errors import NotFound
from tasks.kind import Kind
from tasks.lake import Lake
from tasks.lake.signed import keep, kept
from tasks.provenance import code_of
from tasks.schemas import digest, now
from tasks.validation import passed, tables

if TYPE_CHECKING:
    import pyarrow as pa

log = logging.getLogger(__name__)

WHOLE_EVERY = timedelta(days=7)
_KIND = "passed"


@dataclass(frozen=True)
class Record:
    """What passed (`passed.schema`), by which checks, and when everything was judged last."""

    judged_by: str
    whole_at: datetime
    table: pa.Table


def read(lake: Lake, line: Line, kind: Kind) -> Record:
    """The line's record; an empty one where everything is to be judged."""
    judged_by = _judged_by(lake, line, kind)
    fresh = Record(judged_by, now(), passed.table_of({}))
    if not kind.judged_alone:
        return fresh
    about = kept(lake, _KIND, line.line, _key(line, "json"))
    if about is None or about["judged_by"] != judged_by:
        return fresh
    if now() - (whole_at := datetime.fromisoformat(about["whole_at"])) > WHOLE_EVERY:
        log.info("a week ago everything was judged: it is again, and the lake asked for every frame")
        return fresh
    try:
        data = lake.store.get_bytes(_key(line, "parquet"))
    except NotFound:
        return fresh
    if hashlib.sha256(data).hexdigest() != about["sha256"]:
        log.warning("s3://%s/%s is not what was filed: all is judged again", lake.store.bucket, _key(line, "parquet"))
        return fresh
    return Record(judged_by, whole_at, _decoded(data))


def write(lake: Lake, line: Line, kind: Kind, before: Record, table: pa.Table) -> None:
    """File what passed tonight in the place of `before`; nothing where it is the same."""
    table = table.sort_by("content")
    if not kind.judged_alone or table.equals(before.table):
        return
    data = _encoded(table)
    lake.store.put_bytes(_key(line, "parquet"), data, "application/vnd.apache.parquet")
    about = {
        "judged_by": before.judged_by, "whole_at": before.whole_at.isoformat(),
        "sha256": hashlib.sha256(data).hexdigest(),
    }  # fmt: skip
    keep(lake, _KIND, line.line, _key(line, "json"), about)


def _judged_by(lake: Lake, line: Line, kind: Kind) -> str:
    """Code, suites and parameters of the checks that look at annotations and frames by themselves."""
    own = kind.expectations(lake.settings.expectations_dir)
    folders = {"annotations": lake.settings.expectations_dir, "frames": lake.settings.expectations_dir}
    suites = [
        hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None
        for path in (folder / f"{name}.json" for name, folder in {**folders, kind.checks.SUITE: own}.items())
    ]
    return digest(code_of("validation", kind.name), suites, kind.checks.parameters(line), tables.PARAMETERS)


def _key(line: Line, suffix: str) -> str:
    return f"validations/{line.line}/passed.{suffix}"


def _encoded(table: pa.Table) -> bytes:
    import pyarrow.parquet as pq

    sink = BytesIO()
    pq.write_table(table.combine_chunks(), sink, compression="zstd")
    return sink.getvalue()


def _decoded(data: bytes) -> pa.Table:
    import pyarrow.parquet as pq

    return pq.read_table(BytesIO(data)).select(passed.schema().names)
