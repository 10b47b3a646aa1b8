"""How often the gates are wrong, and how often they find what is there: `python tests/bench/bench_gates.py`.

Draws many champions and challengers whose true difference is known (that of 20,000 recordings), puts each pair through
what a night does (boxes, `judge`, `paired_bootstrap`, `decide`) and counts the outcomes, as test recordings grow:

- a challenger that is no better: how often is it promoted as better (superiority)?
- a challenger that is worse by exactly the margin: how often does it pass as not worse (non-inferiority)?
- how often does one that is as good pass non-inferiority, and one that is truly better superiority (power)?
- the same for the plain percentile bootstrap, and for the rules "its AP is higher" and "its AP fell by at most 0.01".
- with five slices: how often is an equal challenger rejected for one of them, with and without the correction, and how
  often does one slip through that is too much worse in the second class only?

`--pairs 400` a cell takes about half an hour of one core, `--pairs 100` some minutes. `--svg` and `--markdown` write
what docs/statistics.md shows.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from tasks.evaluation.evaluation import Difference, Evaluation
from tasks.gates.decide import decide
from tasks.kinds import kind_of
from tasks.schemas import Decision
from tests.bench.simulated_pairs import METRIC, Model, World, draw, evaluate, line_with, swapped, true_difference

DETECTION = kind_of("detection")

RECORDINGS, SLICED_RECORDINGS = (5, 8, 12, 20, 40), (8, 12, 20)
POPULATION = 20_000
LOSS, SPOILED = 0.3, 0.6
NAIVE_DROP = 0.01
WORLDS = {
    "both models find the same recordings hard": World(own_sd=0.0),
    "each model has its own hard recordings": World(own_sd=0.6),
    "each model breaks down on one of ten recordings": World(own_sd=0.6, failing=0.1, count_sd=0.8),
}


@dataclass(frozen=True)
class Share:
    """How often something happened, with the 95% interval of the simulation (Wilson 1927)."""

    count: int
    of: int

    @property
    def value(self) -> float:
        """0 to 1."""
        return self.count / self.of

    @property
    def interval(self) -> tuple[float, float]:
        """Low, high."""
        z, n, p = 1.96, self.of, self.value
        middle, half = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
        return max(0.0, (middle - half) / (1 + z * z / n)), min(1.0, (middle + half) / (1 + z * z / n))

    def __str__(self) -> str:
        low, high = self.interval
        return f"{self.value * 100:.1f}% ({low * 100:.1f}–{high * 100:.1f})"


def gate(condition: str, threshold: float, **where: object) -> dict[str, object]:
    """One gate on the simulated metric."""
    return {"metric": METRIC, condition: threshold, **where}


def verdict(world: World, evaluation: Evaluation, asked: dict[str, object]) -> Decision:
    """What the real code decides."""
    return decide(line_with(world, asked), evaluation, DETECTION).decision


def percentile(difference: Difference, tail: float = 0.05) -> float:
    """The plain lower percentile bound, as it was before."""
    return float(np.nanquantile([np.nan if d is None else d for d in difference.draws], tail, method="lower"))


def judge_once(world: World, margin: float, recordings: int, resamples: int, seed: int) -> Counter[str]:
    """A champion, a challenger that is as good and one that is worse, judged by every rule."""
    seen: Counter[str] = Counter()
    line = line_with(world, gate("better_by", 0), resamples=resamples)
    both = {"equal": Model(), "worse": Model(worse=LOSS)}
    for state, evaluation in evaluate(draw(world, both, recordings, seed), line).items():
        found = evaluation.difference(METRIC)
        assert found is not None and found.value is not None
        for condition, number in (("better_by", 0.0), ("not_worse_by", margin)):
            seen[f"{state}: {condition} {verdict(world, evaluation, gate(condition, number)).value}"] += 1
        seen[f"{state}: percentile better_by"] += percentile(found) > 0
        seen[f"{state}: percentile not_worse_by"] += percentile(found) >= -margin
        seen[f"{state}: higher"] += found.value > 0
        seen[f"{state}: small drop"] += found.value >= -NAIVE_DROP
        if state == "worse":  # with the roles exchanged, a challenger that is truly better by the margin
            seen[f"better: better_by {verdict(world, swapped(evaluation), gate('better_by', 0)).value}"] += 1
    return seen


def judge_slices_once(world: World, margin: float, recordings: int, resamples: int, seed: int) -> Counter[str]:
    """A challenger that is as good, and one whose second class is worse by the margin, by gates on five slices."""
    seen: Counter[str] = Counter()
    line = line_with(world, gate("not_worse_by", 0), resamples=resamples)
    both = {"equal": Model(), "spoiled": Model(spoiled=SPOILED)}
    for state, evaluation in evaluate(draw(world, both, recordings, seed), line).items():
        asked = {
            "each, no margin": gate("not_worse_by", 0, for_each=["class", "size"]),
            "each": gate("not_worse_by", margin, for_each=["class", "size"]),
            "overall": gate("not_worse_by", margin),
        }
        for name, one in asked.items():
            seen[f"{state}: {name} {verdict(world, evaluation, one).value}"] += 1
        slices = [found for found in evaluation.differences if len(found.path) > 1]
        seen[f"{state}: some slice surely worse"] += any(
            most is not None and most < 0 for found in slices for _, most in [found.bounds(0.95)]
        )
    return seen


def count(once: Callable[[int], Counter[str]], pairs: int, jobs: int) -> dict[str, Share]:
    """Every pair's outcomes together; a missing key never happened."""
    if jobs == 1:
        total: Counter[str] = sum(map(once, range(pairs)), Counter())
    else:
        with ProcessPoolExecutor(jobs) as pool:
            total = sum(pool.map(once, range(pairs), chunksize=10), Counter())
    print(f"{time.strftime('%H:%M:%S')} {dict(sorted(total.items()))}", file=sys.stderr, flush=True)
    return {key: Share(seen, pairs) for key, seen in total.items()}


HEADS = {
    "test recordings": "",
    "no better, promoted": "equal: better_by promote",
    "… percentile": "equal: percentile better_by",
    "… 'AP is higher'": "equal: higher",
    "worse by the margin, passed": "worse: not_worse_by promote",
    "… percentile ": "worse: percentile not_worse_by",
    "… 'fell by at most 0.01'": "worse: small drop",
    "as good, passed": "equal: not_worse_by promote",
    "as good, rejected": "equal: not_worse_by reject",
    "better by the margin, promoted": "better: better_by promote",
}
SLICED_HEADS = {
    "test recordings": "",
    "equal, no margin: some slice surely worse": "equal: some slice surely worse",
    "… rejected (corrected)": "equal: each, no margin reject",
    "equal, with the margin: rejected": "equal: each reject",
    "… passed": "equal: each promote",
    "second class worse by the margin: passed in each slice": "spoiled: each promote",
    "… passed overall only": "spoiled: overall promote",
}


def rows(heads: dict[str, str], cells: dict[int, dict[str, Share]], pairs: int) -> Iterable[list[str]]:
    """A table's lines."""
    for recordings, shares in cells.items():
        yield [str(recordings), *(str(shares.get(key, Share(0, pairs))) for key in list(heads.values())[1:])]


def show(title: str, heads: dict[str, str], cells: dict[int, dict[str, Share]], pairs: int) -> str:
    """Print a table; return it as Markdown."""
    table = Table(title=title)
    for head in heads:
        table.add_column(head, justify="right")
    lines = list(rows(heads, cells, pairs))
    for line in lines:
        table.add_row(*line)
    Console(width=200).print(table)
    text = [f"**{title}**", "", "| " + " | ".join(heads) + " |", "|" + "---:|" * len(heads)]
    return "\n".join([*text, *("| " + " | ".join(line) + " |" for line in lines), ""])


def plot(cells: dict[str, dict[int, dict[str, Share]]], pairs: int, path: Path) -> None:
    """Both error rates and both powers over the number of recordings, one row for each sort of world."""
    import matplotlib

    matplotlib.use("svg")
    import matplotlib.pyplot as plt

    plt.rcParams |= {"svg.fonttype": "none", "font.size": 9, "svg.hashsalt": "nightscope", "axes.spines.top": False,
                     "axes.spines.right": False}  # fmt: skip
    panels = (
        ("Promoted as better,\nthough no better", (("equal: better_by promote", "gate", "#1f6f8b"),
         ("equal: percentile better_by", "plain percentile bootstrap", "#c2571a"),
         ("equal: higher", "'its AP is higher'", "#8a8a8a")), 0.05),
        ("Passed as not worse,\nthough worse by the margin", (("worse: not_worse_by promote", "gate", "#1f6f8b"),
         ("worse: percentile not_worse_by", "plain percentile bootstrap", "#c2571a"),
         ("worse: small drop", "'fell by at most 0.01'", "#8a8a8a")), 0.05),
        ("Found: as good passes,\nbetter is promoted", (("equal: not_worse_by promote", "as good, passed", "#1f6f8b"),
         ("better: better_by promote", "better by the margin, promoted", "#1f9d6b")), 0.8),
    )  # fmt: skip
    figure, axes = plt.subplots(len(cells), len(panels), figsize=(10.5, 3.1 * len(cells)), sharex=True, squeeze=False)
    for line, (world, by_count) in zip(axes, cells.items(), strict=True):
        for axis, (title, series, wanted) in zip(line, panels, strict=True):
            for key, label, color in series:
                shares = [shares.get(key, Share(0, pairs)) for shares in by_count.values()]
                low, high = zip(*(share.interval for share in shares), strict=True)
                x = list(by_count)
                axis.plot(x, [share.value for share in shares], "o-", color=color, label=label, markersize=3.5, lw=1.4)
                axis.fill_between(x, low, high, color=color, alpha=0.15, lw=0)
            axis.axhline(wanted, color="#444444", lw=0.8, ls=":")
            axis.set_title(title, fontsize=9, loc="left")
            axis.set_ylim(0, 1 if wanted > 0.5 else 0.6)
            axis.set_xscale("log")
            axis.set_xticks(list(by_count), [str(n) for n in by_count])
            axis.minorticks_off()
            axis.yaxis.set_major_formatter(lambda value, _: f"{value * 100:.0f}%")
            axis.grid(axis="y", color="#e6e6e6", lw=0.6)
        line[0].set_ylabel(world.replace(" recordings", "\nrecordings"), fontsize=8.5)
    for axis in axes[-1]:
        axis.set_xlabel("test recordings")
    for axis, place in zip(axes[0], ("center right", "center right", "lower right"), strict=True):
        axis.legend(frameon=False, fontsize=8, loc=place)
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=400, help="Pairs a cell.")
    parser.add_argument("--resamples", type=int, default=250, help="Draws of the bootstrap; a line's default is 1,000.")
    parser.add_argument("--jobs", type=int, default=1, help="Processes.")
    parser.add_argument("--svg", type=Path, help="Write the plot here.")
    parser.add_argument("--markdown", type=Path, help="Write the tables here too.")
    asked = parser.parse_args()
    start, cells, texts = time.monotonic(), {}, []
    for name, world in WORLDS.items():
        difference, error = true_difference(world, Model(worse=LOSS), None, POPULATION)
        cells[name] = {
            n: count(partial(judge_once, world, -difference, n, asked.resamples), asked.pairs, asked.jobs)
            for n in RECORDINGS
        }
        title = f"{name}; margin = true difference = {-difference:.4f} (standard error {error:.4f})"
        texts.append(show(title[0].upper() + title[1:], HEADS, cells[name], asked.pairs))
    world = World(own_sd=0.6, sliced=True)
    difference, error = true_difference(world, Model(spoiled=SPOILED), "class.impurity", POPULATION)
    sliced = {
        n: count(partial(judge_slices_once, world, -difference, n, asked.resamples), asked.pairs, asked.jobs)
        for n in SLICED_RECORDINGS
    }
    title = (
        "Two classes and three sizes, each model has its own hard recordings; "
        f"margin = true loss of the second class = {-difference:.4f} (standard error {error:.4f})"
    )
    texts.append(show(title, SLICED_HEADS, sliced, asked.pairs))
    spent = f"{asked.pairs} pairs a cell, {asked.resamples} resamples, {(time.monotonic() - start) / 60:.0f} min"
    print(spent)
    if asked.svg:
        plot(cells, asked.pairs, asked.svg)
    if asked.markdown:
        asked.markdown.write_text("\n".join([*texts, f"{spent}.\n"]))


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
