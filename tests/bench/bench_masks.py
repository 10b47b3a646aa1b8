"""How long the checks of masks take: `python -m tests.bench.bench_masks [--pictures 1000] [--cells 100]`. CPU seconds.

Pictures of 512 x 512 px with a hundred cells each, on run lengths as the validation does it, and as it would be with
every mask decoded: pieces by labelling, holes by filling, overlaps by adding up. The second is measured on a part and
extrapolated. The budget: 100,000 masks in 15 CPU seconds.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
from rich.console import Console
from rich.table import Table
from scipy import ndimage

from tasks.kind import Object, Row
from tasks.kinds.segmentation.checks import labels_table
from tasks.kinds.segmentation.labels import of_text
from tasks.kinds.segmentation.runs import texts_of_label_image
from tasks.metrics import masks
from tasks.schemas import Frame
from tests.validation.factory import NOON

SIDE_PX = 512
BUDGET_CPU_S = 15.0
_DECODED = 10
"""Pictures that are measured the slow way."""


def cells(seed: int, count: int) -> list[Object]:
    """Cells of about 30 px on a jittered grid, ragged at the edge, some cut by a neighbour."""
    rng = np.random.default_rng(seed)
    across = int(np.ceil(np.sqrt(count)))
    step = SIDE_PX / across
    rows, columns = np.mgrid[:SIDE_PX, :SIDE_PX]
    labels = np.zeros((SIDE_PX, SIDE_PX), dtype=np.int32)
    for number in range(count):
        y, x = (np.array(divmod(number, across)) + 0.5 + rng.uniform(-0.1, 0.1, 2)) * step
        a, b = rng.uniform(0.3, 0.48, 2) * step
        angle = np.arctan2(rows - y, columns - x)
        ragged = 1 + 0.08 * np.sin(rng.integers(3, 8) * angle + rng.uniform(0, 6))
        labels[((columns - x) / a) ** 2 + ((rows - y) / b) ** 2 < ragged] = number + 1
    return [of_text("cell", text, SIDE_PX, SIDE_PX) for text in texts_of_label_image(labels).values()]


def night(pictures: int, count: int) -> tuple[list[Row], dict[tuple[str, int, str], Frame]]:
    """Annotations and their frames; 20 different pictures in turn."""
    drawn = [cells(seed, count) for seed in range(min(20, pictures))]
    rows, frames = [], {}
    for index in range(pictures):
        frame = Frame(
            line="cells", recording_id="1" * 64, frame_index=index, oid="2" * 64, media_type="image/png", pts_s=None,
            width_px=SIDE_PX, height_px=SIDE_PX, phash="0" * 16, reason="labelled", taken_at=NOON,
        )  # fmt: skip
        key = (frame.recording_id, index, frame.oid)
        frames[key] = frame
        rows.append({
            "annotation_id": f"1-{index}", "recording_id": key[0], "frame_index": index, "frame_oid": key[2],
            "objects": drawn[index % len(drawn)],
        })  # fmt: skip
    return rows, frames


def decoded(objects: list[Object]) -> tuple[int, int, int]:
    """Pieces, hole pixels and shared pixels of one picture's masks, each decoded."""
    total = np.zeros((SIDE_PX, SIDE_PX), dtype=np.int32)
    pieces = holes = 0
    for item in objects:
        mask = masks.decode(item["mask"], SIDE_PX, SIDE_PX)
        pieces += ndimage.label(mask, np.ones((3, 3)))[1]
        holes += int(ndimage.binary_fill_holes(mask).sum() - mask.sum())
        total += mask
    return pieces, holes, int((total > 1).sum())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=1000)
    parser.add_argument("--cells", type=int, default=100)
    chosen = parser.parse_args()
    labels_table(*night(1, 4))  # imports
    rows, frames = night(chosen.pictures, chosen.cells)
    began = time.process_time()
    table = labels_table(rows, frames)
    fast = time.process_time() - began
    part = rows[: min(_DECODED, len(rows))]
    began = time.process_time()
    found = [decoded(row["objects"]) for row in part]
    slow = (time.process_time() - began) * len(rows) / len(part)
    shown = table[table["row_id"].str.split("#").str[0].isin([row["annotation_id"] for row in part])]
    assert (shown["pieces"].sum(), shown["holes"].sum() > 0) == (sum(f[0] for f in found), sum(f[1] for f in found) > 0)
    paper = Table("masks", "run lengths: CPU s", "decoded: CPU s", "times faster", title="Checks of masks")
    paper.add_row(f"{len(table):,}", f"{fast:.2f}", f"{slow:.0f} (extrapolated)", f"{slow / fast:.0f}")
    Console().print(paper)
    full = BUDGET_CPU_S * max(len(table), 1) / 100_000
    print(f"budget {full:.1f} CPU s: {'kept' if fast <= full else 'EXCEEDED'}")


if __name__ == "__main__":
    main()
