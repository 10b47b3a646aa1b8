"""A denoiser beside the classical filters, each at the strength that did best on other pictures."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from tasks.denoising.denoise import Denoiser
from tasks.denoising.filters import Filter
from tasks.denoising.pairs import Pair
from tasks.denoising.quality import aggregate_quality, compute_quality
from tasks.schemas import Frozen

U_NET = "U-Net"


class FilterQuality(Frozen):
    """How good a filter is on pictures whose truth is known: means over pictures.

    Attributes:
        filter: Its name.
        strength: In words; empty where it has none.
        psnr_db: Peak signal to noise ratio in decibels.
        psnr_spread_db: Standard deviation of it between pictures.
        ssim: Structural similarity, up to 1.
        edges: Edge preservation, up to 1.
        cpu_ms: CPU time for a picture, of all threads together.
    """

    filter: str
    strength: str
    psnr_db: float
    psnr_spread_db: float
    ssim: float
    edges: float
    cpu_ms: float


def measure(name: str, strength: str, each: Filter, pairs: Sequence[Pair]) -> FilterQuality:
    """Measure one filter on pairs."""
    began = time.process_time()
    found = [each(pair.speckled) for pair in pairs]
    cpu_s = (time.process_time() - began) / len(pairs)
    qualities = [compute_quality(pair.clean, one) for pair, one in zip(pairs, found, strict=True)]
    mean, spread = aggregate_quality(qualities), float(np.std([one.psnr_db for one in qualities]))
    return FilterQuality(
        filter=name, strength=strength, psnr_db=round(mean.psnr_db, 3), psnr_spread_db=round(spread, 3),
        ssim=round(mean.ssim, 4), edges=round(mean.edges, 4), cpu_ms=round(cpu_s * 1000, 1),
    )  # fmt: skip


def compare_filters(
    filters: Mapping[str, Mapping[str, Filter]], tune: Sequence[Pair], test: Sequence[Pair]
) -> Iterator[FilterQuality]:
    """Measure each filter on `test`, at the strength of highest PSNR on `tune`."""
    for name, of in filters.items():
        strength = best_strength(of, tune)
        yield measure(name, strength, of[strength], test)


def measure_network(denoiser: Denoiser, test: Sequence[Pair], called: str = "") -> FilterQuality:
    """The same of a denoiser."""
    return measure(U_NET, called, denoiser.denoise, test)


def best_strength(of: Mapping[str, Filter], pairs: Sequence[Pair]) -> str:
    """The strength of highest PSNR."""

    def psnr(strength: str) -> float:
        return aggregate_quality(compute_quality(pair.clean, of[strength](pair.speckled)) for pair in pairs).psnr_db

    return max(of, key=psnr) if len(of) > 1 else next(iter(of))
