"""A person's word that two recordings, which look alike to the audit, are not copies of one another."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from tasks.leakage.pair_id import ClearableKind, Pair, pair_id, pair_of
from tasks.schemas import Oid


@dataclass(frozen=True)
class Clear:
    """Who cleared a pair of recordings, when and why.

    Attributes:
        kind: The kind of finding that was cleared. A finding of another kind between the same recordings is not.
        recordings: The two recordings, by oid, in a fixed order.
        by: The person, as `tasks.operations.who` names people.
        at: ISO 8601 time.
        note: The person's reason.
        result_oid: Blob: the audit that found the pair, as JSON.
        report_oid: Blob: the report of that audit, with the pictures that the person could see.
        record_oid: Blob: the signed record of the clear; "" before it is read from the lake.
    """

    kind: ClearableKind
    recordings: Pair
    by: str
    at: str
    note: str
    result_oid: Oid
    report_oid: Oid
    record_oid: Oid = ""

    @property
    def pair_id(self) -> str:
        """The short name of the pair and kind."""
        return pair_id(self.kind, self.recordings)

    def as_json(self) -> dict[str, Any]:
        """All fields, and the pair's id."""
        return {"pair_id": self.pair_id, **asdict(self)}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Clear:
        """The clear that `as_json` wrote."""
        fields = {key: value for key, value in data.items() if key != "pair_id"}
        return cls(**fields | {"recordings": pair_of(*data["recordings"])})
