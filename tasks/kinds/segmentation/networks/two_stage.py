"""The two-stage segmenter: one encoder, the finder, the mask decoder (after CellSAM; Israel et al. 2024)."""

import torch
from torch import nn

from tasks.kinds.segmentation.networks.decoder import MaskDecoder, windows_of
from tasks.kinds.segmentation.networks.finder import Finder, cells_of
from tasks.kinds.segmentation.networks.raw import RawInstances


class TwoStage(nn.Module):  # type: ignore[misc]
    """Finds cells, then fills their boxes.

    Args:
        encoder: Of both stages.
        width: Channels of its pyramid.
        classes: How many.
    """

    def __init__(self, encoder: nn.Module, width: int, classes: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.finder = Finder(width, classes)
        self.decoder = MaskDecoder(width)

    def encode(self, pictures: torch.Tensor) -> dict[int, torch.Tensor]:
        """Features by stride of pictures [b, 3, h, w] in about [0, 1]; h and w multiples of 32."""
        features: dict[int, torch.Tensor] = self.encoder(pictures)
        return features

    @torch.inference_mode()  # type: ignore[untyped-decorator]
    def raw_instances(self, pictures: torch.Tensor, min_score: float) -> list[RawInstances]:
        """The cells of each picture [b, 3, h, w] that score at least `min_score`; see `RawInstances`."""
        features = self.encode(pictures)
        found = cells_of(self.finder(features), min_score)
        shared = self.decoder.prepared(features)
        return [
            self._filled(_of_picture(shared, number), boxes, scores, labels)
            for number, (boxes, scores, labels) in enumerate(found)
        ]

    @torch.inference_mode()  # type: ignore[untyped-decorator]
    def fill(self, pictures: torch.Tensor, boxes: list[torch.Tensor]) -> list[RawInstances]:
        """Masks of given boxes, in their order: stage 2 alone.

        Args:
            pictures: [b, 3, h, w].
            boxes: Of each picture, x1, y1, x2, y2 in pixels, [n, 4].
        """
        shared = self.decoder.prepared(self.encode(pictures))
        filled = []
        for number, own in enumerate(boxes):
            own = own.to(pictures.device, torch.float32)
            ones = torch.ones(len(own), device=own.device)
            filled.append(self._filled(_of_picture(shared, number), own, ones, ones.long() * 0))
        return filled

    def _filled(
        self, shared: dict[int, torch.Tensor], boxes: torch.Tensor, scores: torch.Tensor, labels: torch.Tensor
    ) -> RawInstances:
        windows = windows_of(boxes)
        return RawInstances(boxes, scores, labels, windows, self.decoder.masks(shared, boxes, windows))


def _of_picture(features: dict[int, torch.Tensor], number: int) -> dict[int, torch.Tensor]:
    return {stride: each[number : number + 1] for stride, each in features.items()}
