"""What was found of pairs of recordings, each made once and kept in the local cache: overlaps, and close checks.

Both follow from the two recordings' bytes and from code alone, so that neither is made again while these are the same.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tasks.leakage.code import audit_code
from tasks.leakage.crop_matching import FindOverlap, Overlap, overlap_in
from tasks.leakage.pair_check import PairCheck, check_pair
from tasks.leakage.pair_id import Pair
from tasks.leakage.signatures import Signature
from tasks.leakage.thumbnails import WHOLE, Clip, Region, Viewer
from tasks.provenance import library_versions
from tasks.schemas import Oid, digest
from tasks.whole_files import written_whole

Regions = tuple[Region, Region]


def check_pairs(
    folder: Path, viewer: Viewer, wanted: Mapping[Pair, Regions]
) -> tuple[dict[Pair, PairCheck], dict[Pair, str]]:
    """Check pairs of recordings closely. A check is kept by recordings, parts and code.

    Args:
        folder: Where checks are kept.
        viewer: Shows recordings.
        wanted: Pairs, and the part of each one's picture that is compared.

    Returns:
        The checks, and for every other pair the reason why it could not be checked.
    """
    paths = {pair: folder / f"{digest(audit_code(), pair, regions)}.json" for pair, regions in wanted.items()}
    checks = {pair: PairCheck(**json.loads(path.read_text())) for pair, path in paths.items() if path.is_file()}
    folder.mkdir(parents=True, exist_ok=True)
    reasons: dict[Pair, str] = {}
    for pair, clips in _clips(viewer, {pair: regions for pair, regions in wanted.items() if pair not in checks}):
        if isinstance(clips, str):
            reasons[pair] = clips
            continue
        checks[pair] = check_pair(*clips, search=wanted[pair] != (WHOLE, WHOLE))
        _keep(paths[pair], asdict(checks[pair]))
    return {pair: checks[pair] for pair in wanted if pair in checks}, reasons


def kept_overlaps(folder: Path, signed: Mapping[Oid, Signature]) -> FindOverlap:
    """Return what finds where two recordings overlap: once for each pair, also where they do not.

    Args:
        folder: Where overlaps are kept, by recordings, code and OpenCV's version.
        signed: Signatures by recording.
    """
    folder.mkdir(parents=True, exist_ok=True)
    code = audit_code(), library_versions(("opencv-python-headless",))

    def find(pair: Pair) -> Overlap | None:
        path = folder / f"{digest(code, pair)}.json"
        with suppress(OSError, ValueError, KeyError, TypeError):  # none yet, or a damaged one
            kept = json.loads(path.read_text())["overlap"]
            return None if kept is None else Overlap(tuple(kept["one"]), tuple(kept["other"]), int(kept["inliers"]))
        overlap = overlap_in(signed, pair)
        _keep(path, {"overlap": None if overlap is None else asdict(overlap)})
        return overlap

    return find


def _keep(path: Path, content: dict[str, Any]) -> None:
    with written_whole(path) as part:
        part.write_text(json.dumps(content))


def _clips(viewer: Viewer, wanted: Mapping[Pair, Regions]) -> Iterable[tuple[Pair, tuple[Clip, Clip] | str]]:
    """Both clips of each pair, or the reason why one of them cannot be seen any more."""
    for pair, regions in wanted.items():
        one, other = (clip for _, clip in viewer.watch(list(zip(pair, regions, strict=True))))
        if isinstance(one, str):
            yield pair, one
        elif isinstance(other, str):
            yield pair, other
        else:
            yield pair, (one, other)
