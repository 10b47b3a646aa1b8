"""By how much one split flatters a model over another: the difference of two scores that rest on different frames."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tasks.metrics.bootstrap import draw_clusters
from tasks.metrics.judgement import FloatArray, IntArray, Judgement, MetricPath


def split_bias(
    flattered: Judgement,
    honest: Judgement,
    flattered_groups: Sequence[str],
    honest_groups: Sequence[str],
    *,
    resamples: int,
    seed: int,
) -> dict[MetricPath, FloatArray]:
    """Draws of `flattered - honest`, by the cluster bootstrap over the groups of both.

    Both are tested on frames of the honest test's groups, the flattered one on frames of others as well. The two kinds
    of groups are drawn apart (a stratified bootstrap), so that each draw leaves both something to be tested on; what
    the two tests share cancels.

    Args:
        flattered, honest: Judgements of I and of J frames.
        flattered_groups, honest_groups: The group of each of these frames; I and J names.
        resamples: R.
        seed: The same seed draws the same.

    Returns:
        Metric address -> float64 [R]; NaN where a draw left nothing to measure.
    """
    shared = sorted(set(honest_groups))
    others = sorted(set(flattered_groups) - set(shared))
    draws = draw_clusters(len(shared), resamples, seed)
    if others:
        draws = np.hstack([draws, draw_clusters(len(others), resamples, seed + 1)])
    place = {group: i for i, group in enumerate((*shared, *others))}

    def weights(groups: Sequence[str]) -> IntArray:
        return np.ascontiguousarray(draws[:, [place[group] for group in groups]])

    ours, theirs = flattered.statistic(weights(flattered_groups)), honest.statistic(weights(honest_groups))
    return {path: ours[path] - theirs[path] for path in ours if path in theirs}
