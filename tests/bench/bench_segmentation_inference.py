"""A picture of 512 x 512 pixels with 100 cells: their boxes through the decoder together, against one at a time.

    OMP_NUM_THREADS=1 python -m tests.bench.bench_segmentation_inference [--encoder tf_efficientnet_lite0] [--rounds 12]

Both ways run the same network on the same features and boxes, in turns in one process, and must give the same masks:

    decoder     masks of all boxes from features that are there
    picture     encoder, finder and decoder: what a person waits for, without tiles and pasting
    encoded anew  as `picture`, where one at a time means a fresh pass of the encoder for each box

Ratios are of CPU time (a machine that does other things as well stretches wall time) or, with `--wall`, of the time
that a person waits, which is the fair one where several threads share the work of a batch. Each is the median over
rounds of one way over the other in the same round, with a 95 % bootstrap interval over rounds. The network is not
trained: its answers cost the same.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np
import torch

from tasks.kinds.segmentation import networks
from tasks.kinds.segmentation.networks.decoder import windows_of
from tasks.kinds.segmentation.plan import InputPlan

SIDE, CELLS = 512, 100


def boxes_of_cells(count: int, seed: int = 0) -> torch.Tensor:
    """Boxes of 16 to 48 pixels on a grid, a little out of place, float32 [count, 4]."""
    rng = np.random.default_rng(seed)
    across = int(np.ceil(np.sqrt(count)))
    step = SIDE / across
    places = np.array([((i % across + 0.5) * step, (i // across + 0.5) * step) for i in range(count)])
    centres = places + rng.uniform(-4, 4, places.shape)
    half = rng.uniform(8, 24, places.shape)
    return torch.from_numpy(np.concatenate([centres - half, centres + half], 1)).float()


def spent(work: Callable[[], object], clock: Callable[[], float]) -> float:
    """Seconds that the work took by a clock."""
    start = clock()
    work()
    return clock() - start


def ratio(slow: list[float], fast: list[float], draws: int = 2000) -> tuple[float, float, float]:
    """Median of the rounds' ratios, and its 95 % bootstrap interval."""
    ratios = np.array(slow) / np.array(fast)
    picked = np.random.default_rng(0).integers(0, len(ratios), (draws, len(ratios)))
    low, high = np.percentile(np.median(ratios[picked], axis=1), (2.5, 97.5))
    return float(np.median(ratios)), float(low), float(high)


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--encoder", default="tf_efficientnet_lite0")
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--cells", type=int, default=CELLS)
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--wall", action="store_true", help="wall time instead of CPU time: on a quiet machine")
    options = parser.parse_args()
    clock = time.perf_counter if options.wall else time.process_time
    torch.manual_seed(0)
    network = networks.build({
        "model": "two-stage", "encoder": options.encoder, "encoder_sizes": None, "width": options.width,
        "classes": ["cell"], "input": InputPlan().model_dump(mode="json"), "min_score": 0.3,
    }).eval()  # fmt: skip
    picture, boxes = torch.rand(1, 3, SIDE, SIDE), boxes_of_cells(options.cells)
    windows, decoder = windows_of(boxes), network.decoder

    def encoded() -> dict[int, torch.Tensor]:
        features = network.encode(picture)
        network.finder(features)
        prepared: dict[int, torch.Tensor] = decoder.prepared(features)
        return prepared

    def together(shared: dict[int, torch.Tensor]) -> torch.Tensor:
        masks: torch.Tensor = decoder.masks(shared, boxes, windows)
        return masks

    def one_by_one(shared: dict[int, torch.Tensor]) -> torch.Tensor:
        each = range(len(boxes))
        return torch.cat([decoder.masks(shared, boxes[n : n + 1], windows[n : n + 1]) for n in each])

    def one_by_one_encoded_anew() -> torch.Tensor:
        each = range(len(boxes))
        return torch.cat([network.fill(picture, [boxes[n : n + 1]])[0].masks for n in each])

    with torch.inference_mode():
        shared = encoded()
        farthest = float((together(shared) - one_by_one(shared)).abs().max())
        assert farthest < 1e-4, f"the two ways differ by {farthest}"
        ways: dict[str, tuple[Callable[[], object], Callable[[], object]]] = {
            "decoder": (lambda: one_by_one(shared), lambda: together(shared)),
            "picture": (lambda: one_by_one(encoded()), lambda: together(encoded())),
        }
        times: dict[str, tuple[list[float], list[float]]] = {name: ([], []) for name in ways}
        for _ in range(options.rounds):
            for name, (slow, fast) in ways.items():
                times[name][0].append(spent(slow, clock))
                times[name][1].append(spent(fast, clock))
        anew = spent(one_by_one_encoded_anew, clock)
    print(
        f"{options.encoder}, {options.cells} boxes, {torch.get_num_threads()} threads, {options.rounds} rounds, "
        f"{'wall' if options.wall else 'CPU'} time"
    )
    for name, (slow, fast) in times.items():
        middle, low, high = ratio(slow, fast)
        print(
            f"{name:14} one at a time {np.median(slow) * 1e3:8.1f} ms   together {np.median(fast) * 1e3:7.1f} ms   "
            f"{middle:.1f} times faster ({low:.1f} to {high:.1f})"
        )
    whole = float(np.median(times["picture"][1]))
    print(
        f"encoded anew   one at a time {anew * 1e3:8.1f} ms   together {whole * 1e3:7.1f} ms   {anew / whole:.1f} times"
    )


if __name__ == "__main__":
    main()
