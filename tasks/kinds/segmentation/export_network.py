"""A two-stage segmenter in ONNX: both stages as graphs, and a network that runs them in onnxruntime.

    stage1.onnx   pictures [1, 3, h, w] -> heat, logits [1, q, classes], boxes [1, q, 4], shared_2, shared_4
    stage2.onnx   shared_2, shared_4, boxes [n, 4], windows [n, 4] int64 -> chances [n, s, s]
    spec.json     what stands in the weights: how pictures are prepared, classes, threshold

The first holds the encoder and the finder, and what of the features all boxes share; the second is the decoder, with
boxes as its input. Choosing among the finder's answers, and what comes after the masks, is as with the original.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from tasks.kinds.segmentation.networks.decoder import BATCH, windows_of
from tasks.kinds.segmentation.networks.finder import Answers, cells_of
from tasks.kinds.segmentation.networks.raw import RawInstances

STAGE1, STAGE2, SPEC = "stage1.onnx", "stage2.onnx", "spec.json"
SHARED = (2, 4)
OPSET = 17


class Stage1(nn.Module):  # type: ignore[misc]
    """Encoder, finder, and the decoder's shared part."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network

    def forward(self, pictures: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """See the module."""
        features = self.network.encode(pictures)
        answers = self.network.finder(features)
        shared = self.network.decoder.prepared(features)
        return (answers.heat, answers.logits, answers.boxes, *(shared[stride] for stride in SHARED))


class Stage2(nn.Module):  # type: ignore[misc]
    """The decoder, of the boxes of one picture."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.decoder = network.decoder

    def forward(
        self, shared_2: torch.Tensor, shared_4: torch.Tensor, boxes: torch.Tensor, windows: torch.Tensor
    ) -> torch.Tensor:
        """See the module."""
        pictures = torch.zeros_like(windows[:, 0])
        shared = dict(zip(SHARED, (shared_2, shared_4), strict=True))
        chances: torch.Tensor = self.decoder(shared, boxes, pictures, windows).sigmoid()
        return chances


def write_graphs(network: Any, spec: dict[str, Any], folder: Path) -> None:
    """Write the three files of a network on the CPU; the same network gives the same graphs.

    Raises:
        ValueError: It has no two stages.
    """
    if spec["model"] != "two-stage":
        raise ValueError(f"a model {spec['model']!r} cannot be exported: expected 'two-stage'")
    first, second = Stage1(network).eval(), Stage2(network).eval()  # else the export leaves the network in training
    pictures = torch.rand(1, 3, 96, 64, generator=torch.Generator().manual_seed(0))
    shared = [f"shared_{stride}" for stride in SHARED]
    sides = {f"shared_{stride}": {2: f"h{stride}", 3: f"w{stride}"} for stride in SHARED}
    with torch.no_grad():
        made = first(pictures)
        torch.onnx.export(
            first, (pictures,), str(folder / STAGE1), opset_version=OPSET, dynamo=False,
            input_names=["pictures"], output_names=["heat", "logits", "boxes", *shared],
            dynamic_axes={"pictures": {2: "h", 3: "w"}, **{name: {1: "q"} for name in ("heat", "logits", "boxes")}}
            | sides,
        )  # fmt: skip
        boxes = torch.tensor([[8.0, 8.0, 24.0, 20.0], [30.0, 40.0, 50.0, 70.0], [-3.0, 2.0, 9.0, 14.0]])
        torch.onnx.export(
            second, (*made[3:], boxes, windows_of(boxes)), str(folder / STAGE2), opset_version=OPSET,
            dynamo=False, input_names=[*shared, "boxes", "windows"], output_names=["chances"],
            dynamic_axes={**sides, **{name: {0: "n"} for name in ("boxes", "windows", "chances")}},
        )  # fmt: skip
    (folder / SPEC).write_text(json.dumps(spec, indent=2, sort_keys=True))


class OnnxTwoStage:
    """As `networks.two_stage.TwoStage`, run by onnxruntime on the CPU.

    Args:
        files: The three files, verified.
        threads: Of each operation; None: as many as there are.
    """

    def __init__(self, files: dict[str, Path], threads: int | None = None) -> None:
        import onnxruntime  # type: ignore[import-untyped]

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = threads or 0
        self._stages = [
            onnxruntime.InferenceSession(files[name].read_bytes(), options, providers=["CPUExecutionProvider"])
            for name in (STAGE1, STAGE2)
        ]

    def raw_instances(self, pictures: torch.Tensor, min_score: float) -> list[RawInstances]:
        """As the original's."""
        found = []
        for picture in pictures:
            heat, logits, boxes, *shared = self._seen(picture)
            of = torch.from_numpy
            answers = Answers(of(heat), of(logits), of(boxes), places=torch.zeros(0, 2))
            ((chosen, scores, labels),) = cells_of(answers, min_score)
            found.append(self._filled(shared, chosen, scores, labels))
        return found

    def fill(self, pictures: torch.Tensor, boxes: list[torch.Tensor]) -> list[RawInstances]:
        """As the original's."""
        filled = []
        for picture, own in zip(pictures, boxes, strict=True):
            ones = torch.ones(len(own))
            filled.append(self._filled(self._seen(picture)[3:], own.float(), ones, ones.long() * 0))
        return filled

    def _seen(self, picture: torch.Tensor) -> list[np.ndarray[Any, Any]]:
        seen: list[np.ndarray[Any, Any]] = self._stages[0].run(None, {"pictures": picture[None].float().numpy()})
        return seen

    def _filled(
        self, shared: list[np.ndarray[Any, Any]], boxes: torch.Tensor, scores: torch.Tensor, labels: torch.Tensor
    ) -> RawInstances:
        windows = windows_of(boxes)
        given = {f"shared_{stride}": each for stride, each in zip(SHARED, shared, strict=True)}
        parts = [
            self._stages[1].run(
                None,
                {**given, "boxes": boxes[start : start + BATCH].numpy(),
                 "windows": windows[start : start + BATCH].numpy()},
            )[0]
            for start in range(0, max(1, len(boxes)), BATCH)
        ]  # fmt: skip
        return RawInstances(boxes, scores, labels, windows, torch.from_numpy(np.concatenate(parts)))
