"""What the epochs of a training say of it: that it stands still, that it was still getting better, that it broke.

    plateau    the best of the last `window` epochs is not `LEAST_GAIN` better than the best before them
    rising     what the last fifth of the epochs added to the best before it
    broken     a part of the loss that is no number

Scores are those of the validation split that the kind names (`EPOCH_SCORE`, higher is better, from 0 to 1). Without
such a split the training loss is looked at, which can only say that learning has stopped, never that it was worth it:
its gain counts relative to its value. A loss is compared with earlier ones of the same stage alone: another stage has
another loss.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

LEAST_GAIN = 0.002
"""Of a score; of a loss, times ten and relative."""
LEAST_WINDOW = 10
_PARTS = ("stage", "member")
SHARE = 0.2
"""Of the planned epochs is the window, and the end that `rising` looks at."""


class Epoch(Protocol):
    """What an epoch measured: `registry.runs.EpochMetrics`."""

    @property
    def epoch(self) -> int:
        """Counted from 1."""
        ...

    @property
    def metrics(self) -> Mapping[str, float]:
        """By name."""
        ...


@dataclass(frozen=True)
class Plateau:
    """A training that stands still.

    Attributes:
        metric: What was looked at.
        since: The epoch of the best value before it stood still.
        epoch: The last one.
        value: The best so far.
        gain: What the epochs since then brought, 0 or more.
    """

    metric: str
    since: int
    epoch: int
    value: float
    gain: float

    def __str__(self) -> str:
        return (
            f"plateau since epoch {self.since}: {self.metric} {self.value:.4g}, and the {self.epoch - self.since} "
            f"epochs after it brought {self.gain:.2g}"
        )


@dataclass(frozen=True)
class Series:
    """One value an epoch, signed so that higher is better.

    Attributes:
        metric: Its name.
        epochs: Counted from 1; those without the value are left out.
        values: One for each.
        relative: Whether gains count relative to the value, as a loss's do.
    """

    metric: str
    epochs: tuple[int, ...]
    values: tuple[float, ...]
    relative: bool

    def least_gain(self, value: float) -> float:
        """What counts as better than a value."""
        return 10 * LEAST_GAIN * abs(value) if self.relative else LEAST_GAIN


def series_of(history: Sequence[Epoch], score: str | None) -> Series | None:
    """What there is to look at: the validation score, else the training loss; None where there is neither."""
    if not history:
        return None
    # Another stage is another scale: sides, augmentation, parts of the loss. Another member is another model.
    last = [history[-1].metrics.get(name) for name in _PARTS]
    history = [each for each in history if [each.metrics.get(name) for name in _PARTS] == last]
    if score:
        scored = [(each.epoch, each.metrics.get(score, math.nan)) for each in history]
        if own := [(epoch, value) for epoch, value in scored if math.isfinite(value)]:
            return Series(score, tuple(e for e, _ in own), tuple(v for _, v in own), relative=False)
    names = loss_names(history[-1].metrics)
    same = [each for each in history if loss_names(each.metrics) == names]
    losses = [(each.epoch, -sum(each.metrics[name] for name in names)) for each in same]
    known = [(epoch, value) for epoch, value in losses if math.isfinite(value)]
    if not names or not known:
        return None
    what = names[0] if len(names) == 1 else "the training loss"
    return Series(what, tuple(e for e, _ in known), tuple(v for _, v in known), relative=True)


def loss_names(metrics: Mapping[str, float]) -> tuple[str, ...]:
    """Names of the parts that make the training loss; where the whole is among them, it alone."""
    own = tuple(name for name in metrics if name.startswith("train/") and name.endswith("loss"))
    whole = tuple(name for name in own if name.endswith("/loss"))
    return whole or own


def plateau_of(history: Sequence[Epoch], score: str | None, planned: int) -> Plateau | None:
    """Whether the training stands still after its last epoch; arguments as for `series_of`.

    Args:
        history: All epochs so far.
        score: The kind's `EPOCH_SCORE`.
        planned: Epochs of the whole training.
    """
    found = series_of(history, score)
    window = max(LEAST_WINDOW, math.ceil(SHARE * planned))
    if found is None or found.epochs[-1] - found.epochs[0] < window:
        return None
    before = [i for i, epoch in enumerate(found.epochs) if epoch <= found.epochs[-1] - window]
    if not before:
        return None
    best = max(before, key=lambda i: (found.values[i], -i))
    after = max(found.values[before[-1] + 1 :])
    gain = max(0.0, after - found.values[best])
    if gain >= found.least_gain(found.values[best]):
        return None
    value = max(found.values[best], after)
    return Plateau(found.metric, found.epochs[best], found.epochs[-1], -value if found.relative else value, gain)


def rising_at_the_end(history: Sequence[Epoch], score: str | None) -> float | None:
    """What the last fifth of the epochs added to the best score before it; None without a validation score."""
    found = series_of(history, score)
    if found is None or found.relative or len(found.values) < 5:
        return None
    last = max(1, math.ceil(SHARE * len(found.values)))
    return max(found.values[-last:]) - max(found.values[:-last])


def broken_part(loss: Mapping[str, float]) -> str | None:
    """The first part of a loss that is no number; the whole of it only where no part is to blame."""
    wrong = [name for name, value in loss.items() if not math.isfinite(value)]
    return min(wrong, key=lambda name: name.rpartition("/")[2] == "loss", default=None)


WHAT_TO_TRY = (
    "halve the learning rate (lr0 or lr), or give it a longer warm-up; clip the gradient; without mixed precision "
    "(amp: fp32) if it is on; then look in the training's log and among the newest labels for an image or a box that "
    "is broken"
)
"""Where a loss is no number."""
