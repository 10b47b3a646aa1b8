"""A picture of 10,000 x 10,000 pixels with thousands of cells: what it costs, and whether its tiles leave seams.

    OMP_NUM_THREADS=1 python -m tests.bench.bench_large_picture [--side 10000] [--recipe two-stage-tiny]

A segmenter learns for `--cpu-seconds` from drawn pictures of one donor; the large picture is a mosaic of others of that
donor (`tasks/synthetic/cells.py`), whose cells are known to the pixel. Then

    cost        CPU seconds and the process's peak memory for the whole picture, and CPU seconds for as many pixels of
                it as pictures of their own of 512 pixels, one by one
    seams       recall and precision at IoU 0.5 of cells whose middle lies within 8 pixels of where one tile's view
                ends and another's begins, against all others; cells that lie at a mosaic stone's edge are left out of
                recall, since that edge may have cut them. A cell that was found twice would be a false one
"""

from __future__ import annotations

import argparse
import os
import resource
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import center_of_mass
from skimage.segmentation import relabel_sequential

from tasks.kinds.segmentation import networks
from tasks.kinds.segmentation.inference.predict import OVERLAP, predict_picture
from tasks.kinds.segmentation.inference.tiles import tiles_of
from tasks.kinds.segmentation.objects import mask_object
from tasks.metrics.segmentation_outlines import painted
from tasks.synthetic.cells import SIDE_PX, draw_picture, write_pictures
from tests.bench.cells_of_dsb import CLASS, CellPicture, write_dataset
from tests.bench.equal_cpu import train_for

DONORS, DONOR = 4, 1
LEARNED = 40
STONE = SIDE_PX[0]
"""Side of a mosaic stone: no drawn picture is smaller."""
EDGE_PX = 20
SEAM_PX = 8
SMALL = 512

Image = NDArray[np.uint8]
Labels = NDArray[np.int32]


def main() -> None:
    """Train, draw, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=10_000)
    parser.add_argument("--recipe", default="two-stage-tiny")
    parser.add_argument("--cpu-seconds", type=float, default=90)
    asked = parser.parse_args()
    threads = int(os.environ.get("OMP_NUM_THREADS", "1"))
    with tempfile.TemporaryDirectory(prefix="nightscope-bench-") as scratch:
        data = training_set(Path(scratch))
        trained = train_for(
            asked.cpu_seconds, "segmentation", asked.recipe, {}, 0, data, Path(scratch) / "run", has_val=False,
            threads=threads,
        )  # fmt: skip
        network, spec = networks.read(trained.weights)
    picture, truth = mosaic(asked.side)
    print(f"{asked.side} x {asked.side} px, {int(truth.max())} cells, tiles of {spec['input']['imgsz']} px", flush=True)
    began, wall = time.process_time(), time.monotonic()
    found = predict_picture(network, spec, picture)
    whole, waited = time.process_time() - began, time.monotonic() - wall
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2
    began = time.process_time()
    parts = [picture[y : y + SMALL, x : x + SMALL] for y, x in _places(min(asked.side, 4 * SMALL), SMALL)]
    for part in parts:
        predict_picture(network, spec, part)
    alone = (time.process_time() - began) / sum(part.shape[0] * part.shape[1] for part in parts) * asked.side**2
    print(f"{len(found)} cells found in {whole:.0f} CPU s ({waited:.0f} s waited), peak {peak:.1f} GiB")
    print(f"as pictures of {SMALL} px: {alone:.0f} CPU s for as many pixels: {whole / alone:.2f} times that")
    show_seams(truth, painted(found.masks, asked.side, asked.side), spec)


def training_set(folder: Path) -> Path:
    """`LEARNED` drawn pictures of the donor as a dataset."""
    written = [
        write_pictures(folder / "drawn", count=1, donors=DONORS, first=number)[0] for number in _numbers(0, LEARNED)
    ]
    pictures = [
        CellPicture(
            folder / "drawn" / "images" / each.file, each.look, each.labels.shape[0], each.labels.shape[1],
            tuple(mask_object(CLASS, each.labels == number) for number in range(1, int(each.labels.max()) + 1)),
        )
        for each in written
    ]  # fmt: skip
    return write_dataset(folder / "data", pictures, [])


def mosaic(side: int) -> tuple[Image, Labels]:
    """A picture [side, side, 3] of stones that no training saw, and its label image."""
    stones = [draw_picture(number, donors=DONORS) for number in _numbers(LEARNED, 60)]
    picture, truth = np.zeros((side, side, 3), np.uint8), np.zeros((side, side), np.int32)
    rng, have = np.random.default_rng(0), 0
    for y, x in _places(side, STONE):
        stone = stones[int(rng.integers(len(stones)))]
        height, width = min(STONE, side - y), min(STONE, side - x)
        image, labels = stone.image[:height, :width], stone.labels[:height, :width]
        picture[y : y + height, x : x + width] = image[..., None] if image.ndim == 2 else image[..., ::-1]
        own, _, _ = relabel_sequential(labels.astype(np.int32), offset=have + 1)
        truth[y : y + height, x : x + width] = own
        have = max(have, int(own.max()))
    return picture, truth


def show_seams(truth: Labels, found: Labels, spec: Mapping[str, Any]) -> None:
    """Recall and precision near the seams of tiles and elsewhere."""
    pairs = np.unique(truth.astype(np.int64).ravel() * (int(found.max()) + 1) + found.ravel(), return_counts=True)
    of, by = np.divmod(pairs[0], int(found.max()) + 1)
    sizes, found_sizes = np.bincount(truth.ravel()), np.bincount(found.ravel())
    right = (of > 0) & (by > 0) & (pairs[1] > (sizes[of] + found_sizes[by]) / 3)  # an IoU above a half; at most one
    how = spec["input"]
    side = round(truth.shape[0] * how["scale"])
    tiles = tiles_of(side, side, how["imgsz"], int(how["imgsz"] * OVERLAP))
    seams = np.array(sorted({tile.core[0] / how["scale"] for tile in tiles if tile.core[0]}))
    for name, labels, hit, whole in (("recall", truth, of[right], True), ("precision", found, by[right], False)):
        middle = _middles(labels)
        kept = (np.abs((middle + EDGE_PX) % STONE - EDGE_PX) >= EDGE_PX).all(1) if whole else np.ones(len(middle), bool)
        near = (np.abs(middle[:, :, None] - seams).min(2) < SEAM_PX).any(1)
        good = np.isin(np.arange(1, len(middle) + 1), hit)
        print(
            f"{name}: near {len(seams)} seams each way {good[near & kept].mean():.4f} ({int((near & kept).sum())}), "
            f"elsewhere {good[~near & kept].mean():.4f} ({int((~near & kept).sum())})"
        )


def _middles(labels: Labels) -> NDArray[np.float64]:
    """Row and column of the middle of each cell, float64 [cells, 2]."""
    return np.asarray(center_of_mass(labels > 0, labels, np.arange(1, int(labels.max()) + 1)))


def _numbers(skip: int, count: int) -> list[int]:
    """Numbers of the donor's pictures."""
    return [DONOR + DONORS * place for place in range(skip, skip + count)]


def _places(side: int, step: int) -> list[tuple[int, int]]:
    return [(y, x) for y in range(0, side, step) for x in range(0, side, step)]


if __name__ == "__main__":
    main()
