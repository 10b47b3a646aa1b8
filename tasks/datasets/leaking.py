"""The same frames split twice: at random by frame, as many papers do, and by group. To show what leakage buys.

Both splits take the frames of a version's train and test splits, and have the same numbers of training and test frames.
The version's validation split is left out of both: its groups are recordings that neither model has seen.

These versions leak on purpose. They are marked (see `tasks.datasets.experiments`), and no night takes them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tasks.config import Line
from tasks.datasets.experiments import save_experiment
from tasks.errors import InsufficientData
from tasks.kind import Kind
from tasks.lake import Lake, Manifest
from tasks.schemas import Split, digest

WHAT = "demonstration of leakage"


@dataclass(frozen=True)
class Pair:
    """Two splits of the same frames, and two sets of test frames that models of both can be compared on.

    Attributes:
        by_frame: The version that leaks.
        by_group: The version that does not.
        same_frames: Test frames that both have, if any: only the one's training has seen other frames of their
            recordings.
        new_groups: Frames of groups that neither training has seen, if the starting version has a validation split.
    """

    by_frame: str
    by_group: str
    same_frames: str | None
    new_groups: str | None


def make_pair(lake: Lake, line: Line, kind: Kind, base: Manifest, seed: int) -> Pair:
    """Split a version's frames both ways. The same arguments give the same versions.

    Raises:
        InsufficientData: The version has nothing to train or to test on.
    """
    import pyarrow as pa

    rows = base.rows.to_pylist()
    used = [i for i, row in enumerate(rows) if row["split"] != "val"]
    tested = [i for i in used if rows[i]["split"] == "test"]
    if not tested or len(tested) == len(used):
        raise InsufficientData(
            f"line {line.line}: dataset version {base.version[:12]} cannot be split twice",
            expected="frames to train on and frames to test on",
            found=f"{len(used) - len(tested)} and {len(tested)}",
        )
    # By hash: no order of the rows (theirs follows from the split) has a say in what is drawn.
    shuffled = sorted(used, key=lambda i: digest(seed, rows[i]["recording_id"], rows[i]["frame_index"]))
    drawn = set(shuffled[: len(tested)])

    def save(numbers: list[int], places: list[Split], part: str, **about: Any) -> str:
        mark = {"what": WHAT, "part": part, "seed": seed}
        taken = base.rows.take(pa.array(numbers, pa.int64()))
        return save_experiment(lake, line, kind, base, taken, places, mark, **about)

    def probe(numbers: list[int], part: str) -> str | None:
        return save(numbers, ["test"] * len(numbers), part) if numbers else None

    at_random: list[Split] = ["test" if i in drawn else "train" for i in used]
    by_group: list[Split] = [rows[i]["split"] for i in used]
    return Pair(
        by_frame=save(used, at_random, "by frame", leak_check=None),
        by_group=save(used, by_group, "by group", leak_check=base.about.get("leak_check")),
        same_frames=probe([i for i in tested if i in drawn], "test frames of both"),
        new_groups=probe([i for i, row in enumerate(rows) if row["split"] == "val"], "groups that neither has seen"),
    )
