"""What a CPU is spared by pruning: channels taken out of every layer, and weights that are set to 0.

    OMP_NUM_THREADS=1 python -m tests.bench.bench_pruning --models p3-small.yaml --side 640

CPU time of one forward pass of one picture, of the network as it is, with 90 % of its convolutions' weights set to 0
(the smallest of all: unstructured pruning), and without 30 and 50 % of its channels (structured); in turns in one
process, the least of some rounds. Networks are untrained: it does not matter to the time.
"""

from __future__ import annotations

import argparse
import copy
import tempfile
import time
from pathlib import Path
from typing import Any


def with_zeros(network: Any, share: float) -> Any:
    """A copy, that share of whose convolutions' weights is 0: the smallest of all."""
    import torch
    from torch.nn.utils.prune import L1Unstructured, global_unstructured, remove

    zeros = copy.deepcopy(network)
    own = [(each, "weight") for each in zeros.modules() if isinstance(each, torch.nn.Conv2d)]
    global_unstructured(own, pruning_method=L1Unstructured, amount=share)
    for each, name in own:
        remove(each, name)
    return zeros


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=["p3-small.yaml", "p3-p5-small.yaml", "yolo11n.yaml"])
    parser.add_argument("--side", type=int, default=640)
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    from tasks.training import ultralytics_offline as offline

    offline.prepare(Path(tempfile.mkdtemp(prefix="nightscope-bench-")), 1)
    import torch

    from tasks.kinds.detection.pruning import prune

    picture = torch.rand(1, 3, asked.side, asked.side)
    for model in asked.models:
        whole = built(model)
        variants = {"as it is": whole, "90 % zeros": with_zeros(whole, 0.9)}
        for share in (0.3, 0.5):
            variants[f"{share:.0%} of channels out"] = copy.deepcopy(whole)
            prune(variants[f"{share:.0%} of channels out"], share)
        weights = {name: sum(each.numel() for each in own.parameters()) for name, own in variants.items()}
        took = {name: float("inf") for name in variants}
        for own in variants.values():
            own.eval().fuse(verbose=False).to(memory_format=torch.channels_last)
        for _ in range(asked.rounds + 1):  # the first warms up, and may as well count: it is no minimum
            for name, own in variants.items():
                with torch.no_grad():
                    began = time.process_time()
                    own(picture)
                    took[name] = min(took[name], time.process_time() - began)
        for name in variants:
            print(f"{model} {name}: {weights[name]:,} weights, {took[name] * 1e3:.1f} ms, "
                  f"{took[name] / took['as it is']:.2f}", flush=True)  # fmt: skip


def built(model: str) -> Any:
    """A network of that architecture, untrained."""
    import torch
    from ultralytics.nn.tasks import DetectionModel

    from tasks.kinds.detection.recipe import find_architecture

    torch.manual_seed(0)
    return DetectionModel(str(find_architecture(model)), nc=2, verbose=False).float()


if __name__ == "__main__":
    main()
