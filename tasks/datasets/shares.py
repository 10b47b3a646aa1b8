"""Shares of a dataset version's training groups, for a learning curve: the same test split, and less to learn from.

Whole groups (donors, else recordings) are left out, never single frames: a lab that labels more gets more recordings,
and frames of one recording resemble each other. For a seed the groups stand in one order, so that what the small share
has, the larger ones have, too. Groups of the validation split are learned from as well, and none is set aside to choose
an epoch by, as in a cross-validation (`tasks.datasets.folds` says why).

No share is audited by itself: it holds rows of an audited version, and no more of them on either side of the test.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from tasks.config import Line
from tasks.datasets.experiments import save_experiment
from tasks.datasets.folds import warnings_of
from tasks.errors import ConfigError, InsufficientData
from tasks.kind import Kind
from tasks.lake import Lake, Manifest
from tasks.schemas import Split, digest

WHAT = "learning curve"
SHARES = (0.25, 0.5, 0.75, 1.0)


@dataclass(frozen=True)
class Share:
    """A version with a part of the training groups.

    Attributes:
        version: The dataset version.
        groups: How many it trains on.
        frames: Of these groups.
        seed: Of the order of groups, and of the training.
        warnings: Classes that it cannot learn, or cannot test.
    """

    version: str
    groups: int
    frames: int
    seed: int
    warnings: tuple[str, ...]


def make_shares(
    lake: Lake, line: Line, kind: Kind, base: Manifest, seeds: Sequence[int], shares: Sequence[float] = SHARES
) -> list[Share]:
    """Make the versions: for each seed one a share, those of few groups first. The same arguments, the same versions.

    Args:
        lake: Where the versions go.
        line: Whose they are.
        kind: Of the line.
        base: The version whose groups are shared out.
        seeds: One order of the groups, and one training of each share, for each.
        shares: Of the groups, in (0, 1]; shares that would have as many groups are made once.

    Raises:
        ConfigError: A share that is none, or no seed.
        InsufficientData: Fewer than two training groups, or no test split.
    """
    import pyarrow as pa

    wrong = [f"{share:g}" for share in shares if not 0 < share <= 1]
    if wrong or not seeds:
        raise ConfigError(
            f"line {line.line}: no learning curve can be made of these shares and seeds",
            expected="shares above 0 and up to 1, and one seed at least",
            found=", ".join(wrong) or "no seed",
        )
    rows = base.rows.select(["split", "group"]).to_pylist()
    groups = sorted({row["group"] for row in rows if row["split"] != "test"})
    if len(groups) < 2 or not any(row["split"] == "test" for row in rows):
        raise InsufficientData(
            f"line {line.line}: dataset version {base.version[:12]} has no learning curve",
            expected="two donors (or recordings without a donor) to learn from at least, and a test split",
            found=f"{len(groups)} to learn from, {sum(row['split'] == 'test' for row in rows)} test frames",
            fix="label recordings of more donors",
        )
    sizes = sorted({max(1, math.floor(share * len(groups) + 0.5)) for share in shares})
    made = []
    for seed in seeds:
        order = sorted(groups, key=lambda group: str(digest(seed, group)))
        for size in sizes:
            chosen = set(order[:size])
            own = [i for i, row in enumerate(rows) if row["split"] == "test" or row["group"] in chosen]
            places: list[Split] = ["test" if rows[i]["split"] == "test" else "train" for i in own]
            taken = base.rows.take(pa.array(own, pa.int64()))
            splits: dict[str, Split] = {rows[i]["group"]: place for i, place in zip(own, places, strict=True)}
            warnings = tuple(warnings_of(line, kind, taken, splits))
            version = save_experiment(
                lake, line, kind, base, taken, places, {"what": WHAT, "groups": size},
                splits=splits, warnings=list(warnings), leak_check=base.about.get("leak_check"),
            )  # fmt: skip
            made.append(Share(version, size, places.count("train"), seed, warnings))
    return made
