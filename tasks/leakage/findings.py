"""What an audit finds, as plain data."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any

from tasks.leakage.clear import Clear
from tasks.leakage.pair_id import Kind, Pair, pair_id, pair_of
from tasks.schemas import Oid

WHAT: dict[Kind, str] = {
    "group": "a group stands in two splits",
    "recording": "a recording stands in two splits",
    "blob": "the very same frame stands in two splits",
    "frame": "nearly the same frame stands in two splits",
    "clip": "the same clip stands in two splits under two names",
    "crop": "a part of one clip stands in two splits under two names",
    "inconclusive": "two clips look like one and could not be looked at",
}
_FORMER_KINDS: dict[str, Kind] = {"unseen": "inconclusive"}
"""Names of kinds in audits of older releases."""


@dataclass(frozen=True)
class Side:
    """One of the two things that a finding compares.

    Attributes:
        frame_index: The frame that shows it; 0-based.
        frame_oid: The picture, where it is a frame of the dataset; None: any frame of the recording.
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
    """Two things in two splits that are the same, or that were suspected to be.

    Attributes:
        why: The reason why they count as the same, or why not: a sentence with every number.
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
    def pair(self) -> Pair:
        """The two recordings, in a fixed order."""
        return pair_of(self.one.recording_id, self.other.recording_id)

    @property
    def pair_id(self) -> str:
        """The short name by which a person clears this pair of recordings of this kind of finding."""
        return pair_id(self.kind, self.pair)

    def as_json(self) -> dict[str, Any]:
        """All fields, and the pair's id."""
        return {**asdict(self), "pair_id": self.pair_id}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Finding:
        """The finding that `as_json` of this or an older release wrote."""
        sides = {name: Side(**{**data[name], "region": tuple(data[name]["region"])}) for name in ("one", "other")}
        kind = _FORMER_KINDS.get(data["kind"], data["kind"])
        return cls(kind, sides["one"], sides["other"], data["why"], data["evidence"])


@dataclass(frozen=True)
class ClearedFinding:
    """A finding that a named person cleared: the audit would refuse it, and lets it pass."""

    finding: Finding
    clear: Clear


@dataclass(frozen=True)
class Audit:
    """What an audit compared and found.

    Attributes:
        code: Digest of the audit's code and thresholds.
        frames: How many frames were compared.
        recordings: How many recordings.
        suspects: Pairs of recordings that were checked closely.
        looked_at: Frames that were decoded for these checks.
        findings: What leaks, and what could not be ruled out (`inconclusive`); none: passed.
        ruled_out: Suspects that the close check itself found to be different.
        cleared_by_people: Findings that a named person cleared.
        ignored_clears: Files that look like clears and do not count, and why: unsigned, forged or damaged.
        not_compared: Recordings whose moving pictures could not be compared, and why; their frames were.
        settled: No worker process died during the audit. Otherwise it is not kept, and the next try audits again.
        result_oid: Blob: all of this as JSON; "" until it is filed.
        report_oid: Blob: the report for people, HTML.
    """

    code: str
    frames: int
    recordings: int
    suspects: int
    looked_at: int
    findings: tuple[Finding, ...]
    ruled_out: tuple[Finding, ...] = ()
    cleared_by_people: tuple[ClearedFinding, ...] = ()
    ignored_clears: tuple[tuple[str, str], ...] = ()
    not_compared: tuple[tuple[str, str], ...] = ()
    settled: bool = True
    result_oid: Oid = ""
    report_oid: Oid = ""

    @property
    def passed(self) -> bool:
        """Whether nothing leaks, but for what a person cleared."""
        return not self.findings

    def as_json(self) -> dict[str, Any]:
        """The summary that a dataset version keeps: counts, who cleared what, and where the result and report are."""
        return {
            "passed": self.passed,
            "code": self.code,
            "frames": self.frames,
            "recordings": self.recordings,
            "suspects": self.suspects,
            "looked_at": self.looked_at,
            "findings": dict(sorted(Counter(finding.kind for finding in self.findings).items())),
            "ruled_out": len(self.ruled_out),
            "cleared_by_people": [cleared.clear.as_json() for cleared in self.cleared_by_people],
            "ignored_clears": len(self.ignored_clears),
            "not_compared": len(self.not_compared),
            "settled": self.settled,
            "result_oid": self.result_oid,
            "report_oid": self.report_oid,
        }

    def in_full(self) -> dict[str, Any]:
        """Everything, for the result's blob."""
        full = {key: value for key, value in asdict(self).items() if key != "result_oid"}
        return full | {
            "passed": self.passed,
            "findings": [finding.as_json() for finding in self.findings],
            "ruled_out": [finding.as_json() for finding in self.ruled_out],
            "cleared_by_people": [
                {"finding": cleared.finding.as_json(), "clear": cleared.clear.as_json()}
                for cleared in self.cleared_by_people
            ],
        }

    @classmethod
    def from_full(cls, data: dict[str, Any], result_oid: Oid) -> Audit:
        """The audit that `in_full` of this or an older release wrote.

        An older release called `cleared` what is `ruled_out` now: no person could clear anything then.
        """
        fields = {key: value for key, value in data.items() if key not in ("passed", "cleared")}
        fields["findings"] = tuple(Finding.from_json(item) for item in data["findings"])
        fields["ruled_out"] = tuple(Finding.from_json(item) for item in data.get("ruled_out", data.get("cleared", ())))
        fields["cleared_by_people"] = tuple(
            ClearedFinding(Finding.from_json(item["finding"]), Clear.from_json(item["clear"]))
            for item in data.get("cleared_by_people", ())
        )
        for name in ("ignored_clears", "not_compared"):
            fields[name] = tuple((thing, why) for thing, why in data.get(name, ()))
        return cls(**fields, result_oid=result_oid)
