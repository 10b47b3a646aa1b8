"""What the evidence says of a training's record: it names records byte for byte, and is signed itself.

A record of a time when records were not signed yet is believed where signed evidence names it, and so is one whose key
was stolen since.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

from tasks.errors import DataError, SignatureError
from tasks.lake import Lake
from tasks.lake.signed import bundle_statement, check
from tasks.schemas import EvidenceEntry, Oid


def named_by_evidence(lake: Lake, line: str, key: str, data: bytes) -> bool | None:
    """Whether the line's evidence names an object as it is.

    Args:
        lake: Where both are.
        line: Whose evidence.
        key: Of the object.
        data: Its bytes.

    Returns:
        True: signed evidence names these bytes, or evidence that signed evidence names. False: it names other bytes.
        None: it says nothing of it, or nothing that is believed.
    """
    rows = sorted(lake.tables.rows("evidence", EvidenceEntry, {"line": line}), key=lambda row: row.number)
    head = next((row for row in reversed(rows) if _is_signed(lake, row)), None)
    start = head or (rows[-1] if rows else None)
    oid: Oid | None = start.bundle_oid if start else None
    while oid is not None:
        try:
            bundle: dict[str, Any] = json.loads(lake.blobs.get_bytes(oid))
            named = {one["sha256"] for one in bundle["objects"] if one["key"] == key}
            before = bundle["previous"]
        except (DataError, ValueError, KeyError, TypeError, RecursionError):
            return None  # damaged, or no bundle: `verify` says so; what it named nobody knows
        if named:
            same = hashlib.sha256(data).hexdigest() in named
            return same if head or not same else None
        oid = before
    return None


def _is_signed(lake: Lake, row: EvidenceEntry) -> bool:
    statement = bundle_statement(row.line, row.evidence_id, row.number, row.bundle_oid)
    try:
        check(lake.settings, statement, row.signature)
    except SignatureError:
        return False
    return True
