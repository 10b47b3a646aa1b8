"""What an audit finds, as plain data."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from tasks.schemas import Oid

Kind = Literal["group", "recording", "blob", "frame", "clip", "unseen"]

WHAT: dict[Kind, str] = {
    "group": "a group stands in two splits",
    "recording": "a recording stands in two splits",
    "blob": "the very same frame stands in two splits",
    "frame": "nearly the same frame stands in two splits",
    "clip": "the same clip stands in two splits under two names",
    "unseen": "two clips look like one and could not be looked at",
}


@dataclass(frozen=True)
class Side:
    """One of the two that are the same.

    Attributes:
        frame_index: The frame that shows it; 0-based.
        frame_oid: Its picture where it is a frame of the dataset; None: any frame of the recording.
        region: The part of the picture that both show, as fractions (left, top, right, bottom).
    """

    split: str
    group: str
    recording_id: Oid
    recording_name: str
    frame_index: int
    frame_oid: Oid | None = None
    region: tuple[float, float, float, float] = (0.0, 0.0, 1.0, 1.0)

    def __str__(self) -> str:
        return f"{self.recording_name} frame {self.frame_index} ({self.split})"


@dataclass(frozen=True)
class Finding:
    """Two things in two splits that are one, or that looked like one and are not.

    Attributes:
        why: Why they count as the same, or why not: a sentence with every number.
        evidence: The numbers: hash_bits, correlation, moments, offset_s, inliers, pairs.
    """

    kind: Kind
    one: Side
    other: Side
    why: str
    evidence: dict[str, float] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.one} and {self.other}" + (f" ({self.why})" if self.why else "")

    @property
    def pair(self) -> tuple[Oid, Oid]:
        """The two recordings, in a fixed order."""
        one, other = sorted((self.one.recording_id, self.other.recording_id))
        return one, other


@dataclass(frozen=True)
class Audit:
    """What an audit looked at and found.

    Attributes:
        code: Digest of the audit's code and thresholds.
        frames: How many frames were compared.
        recordings: How many recordings.
        suspects: Pairs of recordings that were looked at closely.
        looked_at: Frames that were decoded for it.
        findings: What leaks, and what could not be ruled out (`unseen`); none: passed.
        cleared: Pairs that were looked at closely and are not the same.
        not_compared: Recordings whose moving pictures could not be compared, and why; their frames were.
        settled: No worker process died over it. Else it is not kept: the next try looks again.
        result_oid: Blob: all of this as JSON; "" until it is filed.
        report_oid: Blob: the report for people, HTML.
    """

    code: str
    frames: int
    recordings: int
    suspects: int
    looked_at: int
    findings: tuple[Finding, ...]
    cleared: tuple[Finding, ...] = ()
    not_compared: tuple[tuple[str, str], ...] = ()
    settled: bool = True
    result_oid: Oid = ""
    report_oid: Oid = ""

    @property
    def passed(self) -> bool:
        """Whether nothing leaks."""
        return not self.findings

    def as_json(self) -> dict[str, Any]:
        """The summary that a dataset version keeps: counts, and where the whole result and the report are."""
        return {
            "passed": self.passed,
            "code": self.code,
            "frames": self.frames,
            "recordings": self.recordings,
            "suspects": self.suspects,
            "looked_at": self.looked_at,
            "findings": dict(sorted(Counter(finding.kind for finding in self.findings).items())),
            "cleared": len(self.cleared),
            "not_compared": len(self.not_compared),
            "settled": self.settled,
            "result_oid": self.result_oid,
            "report_oid": self.report_oid,
        }

    def in_full(self) -> dict[str, Any]:
        """Everything, for the result's blob."""
        return {key: value for key, value in asdict(self).items() if key != "result_oid"} | {"passed": self.passed}

    @classmethod
    def from_full(cls, data: dict[str, Any], result_oid: Oid) -> Audit:
        """The audit that `in_full` wrote."""
        fields = {key: value for key, value in data.items() if key != "passed"}
        for name in ("findings", "cleared"):
            fields[name] = tuple(_finding(item) for item in data[name])
        fields["not_compared"] = tuple((name, why) for name, why in data["not_compared"])
        return cls(**fields, result_oid=result_oid)


def _finding(data: dict[str, Any]) -> Finding:
    sides = {name: Side(**{**data[name], "region": tuple(data[name]["region"])}) for name in ("one", "other")}
    return Finding(**{**data, **sides})
