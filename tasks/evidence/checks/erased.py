"""What a tombstone of ours names is erased, not missing or changed; and one that is not ours excuses nothing."""

from __future__ import annotations

from collections.abc import Sequence

from tasks.evaluation.evaluation import Evaluation
from tasks.evidence.checks.findings import Findings
from tasks.lake import Lake
from tasks.lake.blobs import BLOBS
from tasks.lake.tombstones import Tombstone, excused, hidden
from tasks.schemas import Oid, Verdict


def check_tombstones(lake: Lake, line: str, found: Findings) -> None:
    """Name the tombstones, and find those that no trusted key signed."""
    for one in lake.tombstones.all():
        models = ", ".join(model.version for model in one.models if model.line == line)
        learned = f"; of this line, model versions {models} learned from it" if models else ""
        found.note(
            f"erased on {one.at:%Y-%m-%d} by {one.by}: {one.reason} ({one.key}): "
            f"{len(one.recordings)} recordings and all that was made of them{learned}"
        )
        found.count("tombstones")
    for doubtful in lake.tombstones.doubtful():
        thing = f"tombstone {doubtful.key}, which excuses nothing"
        found.add(thing, "a signature by a trusted key", doubtful.why, "signature")


def excuse(
    lake: Lake, tombstones: Sequence[Tombstone], key: str, sha256: Oid, there: Oid | None, found: Findings
) -> bool:
    """Whether a tombstone says that an object is gone, or that just what is there now stands in its place."""
    name = sha256 if key.startswith(BLOBS) else key
    if there is None:
        one = excused(tombstones, name) or excused(tombstones, sha256)
        if one is None:
            return False
        copy = lake.tombstones.replacement(sha256)
        if copy is not None:
            head = lake.store.head(lake.blobs.key(copy))
            if head is None or lake.store.rehash(lake.blobs.key(copy))[0] != copy:
                return False
        found.count("erased objects")
        return True
    if there == lake.tombstones.replacement(sha256):
        found.count("objects without an erased donor")
        return True
    return False


def rests_on_erased(lake: Lake, verdict: Verdict, evaluation: Evaluation, found: Findings) -> bool:
    """Whether the numbers of a verdict cannot be computed again, because frames they rest on were erased."""
    predictions = [one.predictions_oid for one in (evaluation.challenger, evaluation.champion) if one]
    names = {hidden(oid) for oid in (verdict.dataset_version, evaluation.dataset_version, *predictions)}
    for one in lake.tombstones.all():
        if names & {*one.removed, *one.replaced}:
            found.note(
                f"verdict {verdict.verdict_id} rests on data that was erased ({one.key}): its numbers and gates stand "
                "as they were recorded, and cannot be computed again"
            )
            return True
    return False
