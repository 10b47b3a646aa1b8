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
from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from tasks.denoising.denoise import Denoiser
from tasks.denoising.filters import classical_filters
from tasks.denoising.pairs import Pair, phantom_pairs
from tasks.denoising.quality import Quality, aggregate_quality, compute_quality
from tasks.denoising.train import DenoisingPlan, train_denoiser

Filter = Callable[[NDArray[np.uint8]], NDArray[np.uint8]]
TRAIN, TUNE, TEST = 40, 4, 16


def measured(name: str, strength: str, each: Filter, pairs: Sequence[Pair]) -> None:
    """Print a row of the table."""
    began = time.process_time()
    found = [each(pair.speckled) for pair in pairs]
    seconds = (time.process_time() - began) / len(pairs)
    quality = [compute_quality(pair.clean, one) for pair, one in zip(pairs, found, strict=True)]
    mean, spread = aggregate_quality(quality), np.std([one.psnr_db for one in quality])
    print(
        f"| {name} | {strength} | {mean.psnr_db:.2f} ± {spread:.2f} | {mean.ssim:.3f} | {mean.edges:.3f} "
        f"| {seconds * 1000:.0f} ms |", flush=True,
    )  # fmt: skip


def best_strength(of: dict[str, Filter], pairs: Sequence[Pair]) -> str:
    """The strength of highest PSNR."""

    def psnr(strength: str) -> float:
        quality: list[Quality] = [compute_quality(pair.clean, of[strength](pair.speckled)) for pair in pairs]
        return aggregate_quality(quality).psnr_db

    return max(of, key=psnr) if len(of) > 1 else next(iter(of))


def main() -> None:
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
    compare(filters, tune, test)
    for seed in range(chosen.seeds):
        plan = DenoisingPlan(steps=chosen.steps, seed=seed)
        began = time.process_time()
        denoiser = Denoiser(train_denoiser(train, plan, on_step=progress))
        took = f"seed {seed}, {chosen.steps} steps, {time.process_time() - began:.0f} CPU s"
        measured("U-Net", took, denoiser.denoise, test)
    compare(slow, tune, test)


def compare(filters: dict[str, dict[str, Filter]], tune: Sequence[Pair], test: Sequence[Pair]) -> None:
    """Print each filter's row, at the strength that did best on other pictures."""
    for name, of in filters.items():
        strength = best_strength(of, tune)
        measured(name, strength, of[strength], test)


def progress(step: int, loss: float) -> None:
    """Say how the training goes, beside the table."""
    if step % 50 == 0:
        print(f"step {step}: loss {loss:.5f}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
