"""The speckle denoiser against the classical filters, on synthetic ultrasound whose truth is known.

    python -m tests.bench.bench_denoising [--steps 3000] [--seeds 3]

Three sets of pictures, of different examinations of different seeds: the network learns from the first, each filter's
strength is chosen on the second (by PSNR), and all are measured on the third. BM3D is measured where its package is
installed (`pip install bm3d`; its licence allows non-commercial use only). The network's rows are one for each seed of
its training. Seconds are CPU time of one thread for a picture.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterable

import torch

from tasks.denoising.comparison import FilterQuality, compare_filters, measure_network
from tasks.denoising.denoise import Denoiser
from tasks.denoising.filters import classical_filters
from tasks.denoising.pairs import phantom_pairs
from tasks.denoising.train import DenoisingPlan, train_denoiser

TRAIN, TUNE, TEST = 40, 4, 16


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=DenoisingPlan().steps)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--train", type=int, default=TRAIN)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    train, tune, test = (
        list(phantom_pairs(count, seed=seed)) for seed, count in ((1, chosen.train), (2, TUNE), (3, TEST))
    )
    print("| filter | strength | PSNR, dB (± between pictures) | SSIM | edges kept | a picture |\n" + "|---" * 6 + "|")
    filters = classical_filters()
    slow = {name: filters.pop(name) for name in ("BM3D",) if name in filters}
    show(compare_filters(filters, tune, test))
    for seed in range(chosen.seeds):
        plan = DenoisingPlan(steps=chosen.steps, seed=seed)
        began = time.process_time()
        denoiser = Denoiser(train_denoiser(train, plan, on_step=progress))
        took = f"seed {seed}, {chosen.steps} steps, {time.process_time() - began:.0f} CPU s"
        show([measure_network(denoiser, test, took)])
    show(compare_filters(slow, tune, test))


def show(rows: Iterable[FilterQuality]) -> None:
    """Print rows of the table."""
    for row in rows:
        print(
            f"| {row.filter} | {row.strength} | {row.psnr_db:.2f} ± {row.psnr_spread_db:.2f} | {row.ssim:.3f} "
            f"| {row.edges:.3f} | {row.cpu_ms:.0f} ms |", flush=True,
        )  # fmt: skip


def progress(step: int, loss: float) -> None:
    """Say how the training goes, beside the table."""
    if step % 50 == 0:
        print(f"step {step}: loss {loss:.5f}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
