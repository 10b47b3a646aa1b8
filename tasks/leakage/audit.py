"""The audit, from the cheapest comparison to the dearest: names and hashes, what moves, parts of pictures, frames."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from tasks.errors import DataError
from tasks.lake import Lake
from tasks.leakage import clip_matching, crop_matching, frame_matching
from tasks.leakage.clear import Clear
from tasks.leakage.code import audit_code
from tasks.leakage.exact import COLUMNS, Row, in_two_splits, side_of
from tasks.leakage.findings import Audit, ClearedFinding, Finding, Side
from tasks.leakage.kept_checks import Regions, check_pairs, kept_overlaps
from tasks.leakage.pair_check import PairCheck
from tasks.leakage.pair_id import Kind, Pair, pair_of
from tasks.leakage.signatures import Signature, signatures
from tasks.leakage.thumbnails import WHOLE, Viewer
from tasks.schemas import SPLITS, Oid

if TYPE_CHECKING:
    import pyarrow as pa

_ORDER: dict[str, int] = {split: number for number, split in enumerate(SPLITS)}


def audit(lake: Lake, rows: pa.Table, viewer: Viewer | None = None, clears: Iterable[Clear] = ()) -> Audit:
    """Find what stands in two splits. A leak is a finding, not an error.

    A pair for which a finding refuses is not compared further. One that a person cleared is, so that a finding of
    another kind between the same recordings still refuses.

    Args:
        lake: Where frames and recordings are.
        rows: One row per frame: `COLUMNS`; `phash` is read from the lake where it is not among them.
        viewer: Shows recordings; None: only frames are compared, and the audit's code states that.
        clears: Pairs that people cleared.
    """
    every = _with_hashes(lake, rows)
    splits = {row["recording_id"]: row["split"] for row in every}
    sides = {row["recording_id"]: row for row in every}
    collected = _Collected(clears)
    for finding in in_two_splits(every):
        collected.refuse(finding)
    signed: dict[Oid, Signature] = {}
    not_compared: Mapping[Oid, str] = dict.fromkeys(splits, "only frames were compared")
    if viewer is not None:
        signed, not_compared = signatures(lake, sorted(splits), viewer)
    whole = clip_matching.suspects(signed, splits)
    overlaps = kept_overlaps(lake.settings.cache_dir / "pair-overlaps", signed)
    parts = crop_matching.suspects(signed, splits, overlaps)
    unchecked: dict[Pair, str] = {}
    decoded = 0
    regions_of: tuple[tuple[Kind, dict[Pair, Regions]], ...] = (
        ("clip", dict.fromkeys(whole, (WHOLE, WHOLE))),
        ("crop", {pair: (overlap.one, overlap.other) for pair, overlap in parts.items()}),
    )
    for kind, regions in regions_of:
        wanted = {pair: own for pair, own in regions.items() if pair_of(*pair) not in collected.refused}
        checks, reasons = check_pairs(lake.settings.cache_dir / "pair-checks", viewer, wanted) if viewer else ({}, {})
        unchecked |= {pair_of(*pair): why for pair, why in reasons.items()}
        for pair, check in checks.items():
            collected.add(
                _finding(kind, sides, pair, check, wanted[pair], whole.get(pair), parts.get(pair)), check.same
            )
            decoded += check.looked_up
        collected.settle()
    unchecked = {pair: why for pair, why in unchecked.items() if pair not in collected.refused}
    close = {
        pair: own
        for pair, own in frame_matching.suspects(every, signed).items()
        if pair_of(*pair) not in collected.refused and pair_of(*pair) not in unchecked
    }
    close |= {pair: frame_matching.all_of(every, pair) for pair in unchecked}  # whether they move or not
    alike, only_behind, compared = frame_matching.alike(lake, every, close)
    for finding in alike:
        collected.add(finding, same=True)
    collected.settle()
    for pair, why in unchecked.items():
        if pair not in collected.refused:
            collected.add(_inconclusive(sides, pair, why), same=True)
    names = {recording: row["recording_name"] for recording, row in sides.items()}
    return Audit(
        code=audit_code(clips=viewer is not None),
        frames=len(every),
        recordings=len(splits),
        suspects=len({pair_of(*pair) for pair in (*whole, *parts, *close)}),
        looked_at=decoded + compared,
        findings=tuple(collected.findings),
        ruled_out=tuple(own for own in [*collected.ruled_out, *only_behind] if own.pair not in unchecked),
        cleared_by_people=tuple(collected.cleared),
        not_compared=tuple(sorted((names[recording], why) for recording, why in not_compared.items())),
        settled=viewer is None or not set(splits) & set(viewer.crashed),
    )


class _Collected:
    """Sorts findings: what refuses, what was ruled out, and what a person cleared.

    Args:
        clears: Pairs that people cleared.
    """

    def __init__(self, clears: Iterable[Clear]) -> None:
        self.findings: list[Finding] = []
        self.ruled_out: list[Finding] = []
        self.cleared: list[ClearedFinding] = []
        self.refused: set[Pair] = set()
        self._clears: dict[tuple[Kind, Pair], Clear] = {(one.kind, one.recordings): one for one in clears}

    def refuse(self, finding: Finding) -> None:
        """Take a finding that nobody can clear."""
        self.findings.append(finding)
        self.refused.add(finding.pair)

    def add(self, finding: Finding, same: bool) -> None:
        """Take a finding of how things look, or a suspect that the close check found to be different."""
        clear = self._clears.get((finding.kind, finding.pair))
        if not same:
            self.ruled_out.append(finding)
        elif clear is not None:
            self.cleared.append(ClearedFinding(finding, clear))
        else:
            self.findings.append(finding)

    def settle(self) -> None:
        """Stop comparing the pairs that are refused by now."""
        self.refused |= {finding.pair for finding in self.findings}


def _with_hashes(lake: Lake, rows: pa.Table) -> list[Row]:
    """The rows, each with its frame's perceptual hash."""
    if "phash" in rows.schema.names:
        known: list[Row] = rows.select([*COLUMNS, "phash"]).to_pylist()
        return known
    found: list[Row] = rows.select(list(COLUMNS)).to_pylist()
    wanted = sorted({row["recording_id"] for row in found})
    stored = lake.tables.scan("frames", {"recording_id": wanted}, columns=["oid", "phash"])
    hashes = dict(zip(stored.column("oid").to_pylist(), stored.column("phash").to_pylist(), strict=True))
    if missing := [row["frame_oid"] for row in found if row["frame_oid"] not in hashes]:
        raise DataError(
            f"{len(missing)} frames of the dataset are not among the lake's frames, e.g. {missing[0][:12]}",
            fix="restore the table `frames` from the snapshot that the dataset version names",
        )
    return [{**row, "phash": hashes[row["frame_oid"]]} for row in found]


def _inconclusive(rows: Mapping[Oid, Row], pair: Pair, why: str) -> Finding:
    """A suspect pair that could not be checked, and whose frames are not alike: they may be of other moments."""
    one, other = _in_order(side_of(rows[recording]) for recording in pair)
    reason = f"they have moments or parts in common, but could not be looked at: {why}"
    return Finding("inconclusive", one, other, reason)


def _finding(
    kind: Kind,
    rows: Mapping[Oid, Row],
    pair: Pair,
    check: PairCheck,
    regions: Regions,
    bits: int | None,
    overlap: crop_matching.Overlap | None,
) -> Finding:
    """What a close check of two recordings gave, with its reasons and numbers."""
    sides = [
        replace(side_of(rows[recording]), frame_index=index, frame_oid=None, region=region)
        for recording, index, region in zip(pair, (check.one, check.other), regions, strict=True)
    ]
    one, other = _in_order(sides)
    reasons = [*_suspicion(bits, overlap), _outcome(check)]
    evidence: dict[str, float] = {"correlation": check.correlation, "moments": float(check.moments)}
    if bits is not None:
        evidence["hash_bits"] = float(bits)
    if overlap is not None:
        evidence["inliers"] = float(overlap.inliers)
    if check.offset_s is not None:
        evidence["offset_s"] = abs(check.offset_s)
    return Finding(kind, one, other, ", ".join(reasons), evidence)


def _suspicion(bits: int | None, overlap: crop_matching.Overlap | None) -> list[str]:
    """Why two recordings were suspected."""
    if bits is not None:
        return [f"their closest moments differ in {bits} of 128 hash bits"]
    if overlap is not None:
        return [f"one shows a part of the other ({overlap.inliers} local features agree on where)"]
    return []


def _outcome(check: PairCheck) -> str:
    """What the close check found."""
    what = "what moves" if check.moving else "the pictures"
    if check.same:
        shift = "" if not check.offset_s or abs(check.offset_s) < 0.005 else f", {abs(check.offset_s):.2f} s apart"
        return (
            f"{what} in {check.moments} of {check.looked_up} compared frames is the same{shift} "
            f"(correlation up to {check.correlation:.2f})"
        )
    if check.alike:
        return (
            f"whose correlation of {check.correlation:.2f} at most is not that of a copy: "
            "they cannot be told apart by still pictures"
        )
    return f"but {what} is not the same (correlation {check.correlation:.2f} at most)"


def _in_order(sides: Iterable[Side]) -> list[Side]:
    """The sides, that of train first."""
    return sorted(sides, key=lambda side: _ORDER.get(side.split, len(SPLITS)))
