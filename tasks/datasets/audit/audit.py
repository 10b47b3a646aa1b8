"""The audit, from the cheap to the dear: names and hashes, what moves, parts of pictures, single frames."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

from tasks.datasets.audit import crops, frames, moments
from tasks.datasets.audit.code import audit_code
from tasks.datasets.audit.exact import Row, in_two_splits
from tasks.datasets.audit.findings import Audit, Finding, Side
from tasks.datasets.audit.look import Look, look_closely
from tasks.datasets.audit.seeing import WHOLE, Clip, Region, Viewer
from tasks.datasets.audit.signatures import Signature, signatures
from tasks.errors import DataError
from tasks.lake import Lake
from tasks.schemas import SPLITS, Oid, digest

if TYPE_CHECKING:
    import pyarrow as pa

COLUMNS = ("split", "group", "recording_id", "recording_name", "frame_index", "frame_oid")
_ORDER: dict[str, int] = {split: number for number, split in enumerate(SPLITS)}
Pair = tuple[Oid, Oid]


def audit(lake: Lake, rows: pa.Table, viewer: Viewer | None = None) -> Audit:
    """Find what stands in two splits. A leak is a finding, not an error.

    Args:
        lake: Where frames and recordings are.
        rows: One row per frame: `COLUMNS`; `phash` is looked up in the lake where it is not among them.
        viewer: Shows recordings; None: only frames are compared, and the audit's code says so.
    """
    every = _with_hashes(lake, rows)
    splits = {row["recording_id"]: row["split"] for row in every}
    sides = {row["recording_id"]: row for row in every}
    found = in_two_splits(every)
    known = {finding.pair for finding in found}
    signed: dict[Oid, Signature] = {}
    unseen: Mapping[Oid, str] = dict.fromkeys(splits, "only frames were compared")
    if viewer is not None:
        signed, unseen = signatures(lake, sorted(splits), viewer)
    whole, parts = moments.suspects(signed, splits), crops.suspects(signed, splits)
    cleared: list[Finding] = []
    unlooked: dict[Pair, str] = {}
    looked_at = 0
    if viewer is not None:
        for regions in (dict.fromkeys(whole, (WHOLE, WHOLE)), {pair: (o.one, o.other) for pair, o in parts.items()}):
            wanted = {pair: own for pair, own in regions.items() if _sorted(pair) not in known}
            looks, without = _looks(lake, viewer, wanted)
            unlooked |= {_sorted(pair): why for pair, why in without.items()}
            for pair, look in looks.items():
                finding = _finding(sides, pair, look, wanted[pair], whole.get(pair), parts.get(pair))
                (found if look.same else cleared).append(finding)
                looked_at += look.looked_up
            known |= {finding.pair for finding in found}
    unlooked = {pair: why for pair, why in unlooked.items() if pair not in known}
    close = {
        pair: own
        for pair, own in frames.suspects(every, signed).items()
        if _sorted(pair) not in known and _sorted(pair) not in unlooked
    }
    close |= {pair: frames.all_of(every, pair) for pair in unlooked}  # whether they move or not
    alike, only_behind, decoded = frames.alike(lake, every, close)
    known |= {finding.pair for finding in alike}
    undecided = [_undecided(sides, pair, why) for pair, why in unlooked.items() if pair not in known]
    names = {recording: row["recording_name"] for recording, row in sides.items()}
    return Audit(
        code=audit_code(clips=viewer is not None),
        frames=len(every),
        recordings=len(splits),
        suspects=len({_sorted(pair) for pair in (*whole, *parts, *close)}),
        looked_at=looked_at + decoded,
        findings=tuple(found + alike + undecided),
        cleared=tuple(own for own in cleared + only_behind if own.pair not in unlooked),
        not_compared=tuple(sorted((names[recording], why) for recording, why in unseen.items())),
        settled=viewer is None or not set(splits) & set(viewer.crashed),
    )


def _sorted(pair: Pair) -> Pair:
    return (pair[0], pair[1]) if pair[0] < pair[1] else (pair[1], pair[0])


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


def _looks(
    lake: Lake, viewer: Viewer, wanted: Mapping[Pair, tuple[Region, Region]]
) -> tuple[dict[Pair, Look], dict[Pair, str]]:
    """Look at pairs of recordings closely. What was seen once is kept, by recordings, parts and code.

    Returns:
        The looks, and why there is none at the other pairs.
    """
    folder = lake.settings.cache_dir / "looks"
    paths = {pair: folder / f"{digest(audit_code(), pair, regions)}.json" for pair, regions in wanted.items()}
    found = {pair: Look(**json.loads(path.read_text())) for pair, path in paths.items() if path.is_file()}
    folder.mkdir(parents=True, exist_ok=True)
    without: dict[Pair, str] = {}
    for pair, clips in _clips(viewer, {pair: own for pair, own in wanted.items() if pair not in found}):
        if isinstance(clips, str):
            without[pair] = clips
            continue
        found[pair] = look_closely(*clips, search=wanted[pair] != (WHOLE, WHOLE))
        part = paths[pair].with_suffix(f".{os.getpid()}.part")
        part.write_text(json.dumps(asdict(found[pair])))
        part.replace(paths[pair])
    return {pair: found[pair] for pair in wanted if pair in found}, without


def _clips(
    viewer: Viewer, wanted: Mapping[Pair, tuple[Region, Region]]
) -> Iterable[tuple[Pair, tuple[Clip, Clip] | str]]:
    """Both clips of each pair, or why one of them cannot be seen any more."""
    for pair, regions in wanted.items():
        one, other = (clip for _, clip in viewer.watch(list(zip(pair, regions, strict=True))))
        if isinstance(one, str):
            yield pair, one
        elif isinstance(other, str):
            yield pair, other
        else:
            yield pair, (one, other)


def _undecided(rows: Mapping[Oid, Row], pair: Pair, why: str) -> Finding:
    """A suspect pair that nobody could look at, and whose frames are not alike: they may be of other moments."""
    one, other = sorted((_side(rows[recording]) for recording in pair), key=lambda side: _ORDER.get(side.split, 3))
    return Finding("unseen", one, other, f"they have moments or parts in common, but could not be looked at: {why}")


def _finding(
    rows: Mapping[Oid, Row],
    pair: Pair,
    look: Look,
    regions: tuple[Region, Region],
    bits: int | None,
    overlap: crops.Overlap | None,
) -> Finding:
    what = "what moves" if look.moving else "the pictures"
    reasons = []
    if bits is not None:
        reasons.append(f"their closest moments differ in {bits} of 128 hash bits")
    elif overlap is not None:
        reasons.append(f"one shows a part of the other ({overlap.inliers} local features agree on where)")
    evidence: dict[str, float] = {"correlation": look.correlation, "moments": float(look.moments)}
    if bits is not None:
        evidence["hash_bits"] = float(bits)
    if overlap is not None:
        evidence["inliers"] = float(overlap.inliers)
    if look.same:
        shift = "" if not look.offset_s or abs(look.offset_s) < 0.005 else f", {abs(look.offset_s):.2f} s apart"
        reasons.append(
            f"{what} in {look.moments} of {look.looked_up} compared frames is the same{shift} "
            f"(correlation up to {look.correlation:.2f})"
        )
    elif look.alike:
        reasons.append(
            f"whose correlation of {look.correlation:.2f} at most is not that of a copy: "
            "they cannot be told apart by still pictures"
        )
    else:
        reasons.append(f"but {what} is not the same (correlation {look.correlation:.2f} at most)")
    if look.offset_s is not None:
        evidence["offset_s"] = abs(look.offset_s)
    sides = [
        replace(_side(rows[recording]), frame_index=index, frame_oid=None, region=region)
        for recording, index, region in zip(pair, (look.one, look.other), regions, strict=True)
    ]
    one, other = sorted(sides, key=lambda side: _ORDER.get(side.split, 3))
    return Finding("clip", one, other, ", ".join(reasons), evidence)


def _side(row: Row) -> Side:
    return Side(**{name: row[name] for name in COLUMNS})
