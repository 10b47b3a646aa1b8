"""Stage 1: where cells are. Every place of the finest map is a query that answers with a class and a box.

As in DETR (Carion et al. 2020, arXiv:2005.12872) training matches answers and cells one to one, so that no answer is
given twice. Queries are places, as in OneNet (Sun et al. 2021, arXiv:2012.05780): each knows where it stands, and
learns in minutes. A second head of the same trunk learns from many places of every cell (a heat map of centres,
as in CenterNet; Zhou et al. 2019, arXiv:1904.07850); the one-to-one head starts from its answer (dual assignment).
"""

from dataclasses import dataclass

import torch
from torch import nn
from torchvision.ops import batched_nms

from tasks.kinds.segmentation.networks.encoders import convolved

STRIDE = 4
MOST_CELLS = 400
"""Of one tile of up to 280 pixels a side; larger ones may have more, see `most_cells`."""
_PLACES_A_CELL = 12
SAME_IOU = 0.6
"""Boxes that overlap more are taken for one cell: rarely needed, since training is one to one."""
_PRIOR = -4.6
"""Logit of 1 %: most places show no cell's centre."""
_SIDE_PX = 16.0
"""What a side is before anything is learned."""


@dataclass(frozen=True)
class Answers:
    """What the finder answers, of b pictures at q places.

    Attributes:
        heat: Logits of centres [b, q, classes], learned one to many.
        logits: Logits of classes [b, q, classes], learned one to one.
        boxes: x1, y1, x2, y2 in pixels, [b, q, 4].
        places: x, y of each place in pixels, [q, 2].
    """

    heat: torch.Tensor
    logits: torch.Tensor
    boxes: torch.Tensor
    places: torch.Tensor


class Finder(nn.Module):  # type: ignore[misc]
    """Classes and boxes at every place of the map of stride 4.

    Args:
        width: Channels of the pyramid.
        classes: How many.
    """

    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        self.trunk = nn.Sequential(convolved(width, width), convolved(width, width))
        self.heat = nn.Conv2d(width, classes, 1)
        self.refine = nn.Sequential(convolved(width, width, groups=width), nn.Conv2d(width, classes, 1))
        self.sides = nn.Sequential(convolved(width, width, groups=width), nn.Conv2d(width, 4, 1))
        nn.init.constant_(self.heat.bias, _PRIOR)
        nn.init.normal_(self.heat.weight, std=0.01)
        for last in (self.refine[-1], self.sides[-1]):
            nn.init.normal_(last.weight, std=0.001)
            nn.init.zeros_(last.bias)

    def forward(self, features: dict[int, torch.Tensor]) -> Answers:
        """Answers at every place, row by row."""
        trunk = self.trunk(features[STRIDE])
        heat = self.heat(trunk)
        logits = heat.detach() + self.refine(trunk)
        places = places_of(trunk.shape[-2], trunk.shape[-1], STRIDE, trunk)
        sides = (self.sides(trunk).clamp(-5, 5).exp() * _SIDE_PX / 2).flatten(2).transpose(1, 2)
        boxes = torch.cat([places - sides[..., :2], places + sides[..., 2:]], -1)
        return Answers(heat.flatten(2).transpose(1, 2), logits.flatten(2).transpose(1, 2), boxes.float(), places)


def places_of(height: int, width: int, stride: int, like: torch.Tensor) -> torch.Tensor:
    """Centres x, y in pixels of a map's places, row by row, float32 [height * width, 2]."""
    rows, columns = (torch.arange(side, device=like.device, dtype=torch.float32) for side in (height, width))
    y, x = torch.meshgrid((rows + 0.5) * stride, (columns + 0.5) * stride, indexing="ij")
    return torch.stack([x, y], -1).reshape(-1, 2)


def most_cells(places: int) -> int:
    """How many cells a tile of so many places may have: one for 14 x 14 pixels, `MOST_CELLS` at least."""
    return max(MOST_CELLS, places // _PLACES_A_CELL)


def cells_of(answers: Answers, min_score: float) -> list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
    """Boxes [n, 4], scores [n] and labels [n] of each picture, surest first.

    The score is the geometric mean of what both heads say.
    """
    found, most = [], most_cells(answers.boxes.shape[1])
    chances = (answers.logits.float().sigmoid() * answers.heat.float().sigmoid()).sqrt()
    for scores, boxes in zip(chances, answers.boxes, strict=True):
        best, labels = scores.max(-1)
        kept = torch.nonzero(best >= min_score)[:, 0]
        if len(kept) > 4 * most:
            kept = kept[best[kept].topk(4 * most).indices]
        alone = batched_nms(boxes[kept], best[kept], torch.zeros_like(labels[kept]), SAME_IOU)[:most]
        kept = kept[alone]
        found.append((boxes[kept], best[kept], labels[kept]))
    return found
