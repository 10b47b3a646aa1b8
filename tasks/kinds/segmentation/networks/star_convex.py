"""The star-convex segmenter: from every place the chance of a cell, and how far it reaches in 32 directions.

StarDist's idea (Schmidt et al. 2018, arXiv:1806.03535) on the encoder of the two-stage model: a baseline.
"""

import math

import torch
from torch import nn
from torchvision.ops import nms

from tasks.kinds.segmentation.networks.encoders import convolved
from tasks.kinds.segmentation.networks.finder import most_cells, places_of
from tasks.kinds.segmentation.networks.raw import RawInstances

RAYS = 32
STRIDE = 4
SIDE = 48
"""Of a mask's grid."""
SAME_IOU = 0.4
"""Polygons that overlap more are one cell, as StarDist has it."""
_SAME_BOX = 0.85
"""Boxes that overlap more are one cell without a look at their polygons."""
_CANDIDATES, _POLYGONS = 20, 3
"""Places, and polygons of them, that are looked at for each cell that a tile may have."""


class StarConvex(nn.Module):  # type: ignore[misc]
    """Chances and rays at every place of the map of stride 4.

    Args:
        encoder: Its pyramid is what is looked at.
        width: Channels of the pyramid.
        classes: How many.
    """

    def __init__(self, encoder: nn.Module, width: int, classes: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.trunk = nn.Sequential(convolved(width, width), convolved(width, width))
        self.chance = nn.Conv2d(width, classes, 1)
        self.rays = nn.Conv2d(width, RAYS, 1)
        nn.init.constant_(self.chance.bias, -2.0)
        nn.init.normal_(self.rays.weight, std=0.01)
        nn.init.constant_(self.rays.bias, math.log(8.0))

    def encode(self, pictures: torch.Tensor) -> dict[int, torch.Tensor]:
        """Features by stride of pictures [b, 3, h, w] in about [0, 1]; h and w multiples of 32."""
        features: dict[int, torch.Tensor] = self.encoder(pictures)
        return features

    def forward(self, features: dict[int, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits [b, classes, h, w] and rays in pixels [b, RAYS, h, w]."""
        trunk = self.trunk(features[STRIDE])
        return self.chance(trunk), self.rays(trunk).clamp(-5, 7).exp()

    @torch.inference_mode()  # type: ignore[untyped-decorator]
    def raw_instances(self, pictures: torch.Tensor, min_score: float) -> list[RawInstances]:
        """The cells of each picture [b, 3, h, w] that score at least `min_score`; see `RawInstances`."""
        logits, rays = self(self.encode(pictures))
        places = places_of(logits.shape[-2], logits.shape[-1], STRIDE, logits)
        return [
            polygons(chances, reach, places, min_score)
            for chances, reach in zip(
                logits.float().sigmoid().flatten(2).transpose(1, 2), rays.float().flatten(2).transpose(1, 2),
                strict=True,
            )
        ]  # fmt: skip


def directions(like: torch.Tensor) -> torch.Tensor:
    """Unit vectors x, y of the rays, [RAYS, 2]; the first points right, the next ones turn towards y."""
    angles = torch.arange(RAYS, device=like.device) * (2 * math.pi / RAYS)
    return torch.stack([angles.cos(), angles.sin()], 1)


def polygons(chances: torch.Tensor, rays: torch.Tensor, places: torch.Tensor, min_score: float) -> RawInstances:
    """Polygons of one picture, of two that overlap the surer one.

    Args:
        chances: Of each place, [q, classes].
        rays: In pixels, [q, RAYS].
        places: x, y, [q, 2].
        min_score: The least chance.
    """
    most = most_cells(len(chances))
    scores, labels = chances.max(-1)
    order = scores.sort(descending=True, stable=True).indices
    order = order[scores[order] >= min_score][: _CANDIDATES * most]
    tips = places[order, None] + rays[order, :, None] * directions(rays)
    boxes = torch.cat([tips.amin(1), tips.amax(1)], 1)
    first = nms(boxes, scores[order], _SAME_BOX)[: _POLYGONS * most]
    order, boxes = order[first], boxes[first]
    windows = torch.cat([(boxes[:, :2] - 1).floor(), (boxes[:, 2:] + 1).ceil()], 1).long()
    masks = filled(places[order], rays[order], windows)
    kept = _alone(places[order], rays[order], boxes, windows, masks)[:most]
    return RawInstances(boxes[kept], scores[order[kept]], labels[order[kept]], windows[kept], masks[kept])


def filled(centres: torch.Tensor, rays: torch.Tensor, windows: torch.Tensor) -> torch.Tensor:
    """Chances [n, SIDE, SIDE] over windows [n, 4] of polygons, by how many pixels a point is inside."""
    steps = (torch.arange(SIDE, device=rays.device, dtype=torch.float32) + 0.5) / SIDE
    points = windows[:, :2, None].float() + (windows[:, 2:] - windows[:, :2])[:, :, None] * steps  # [n, 2, SIDE]
    x = points[:, 0, None, :].expand(-1, SIDE, -1).reshape(len(rays), SIDE * SIDE)
    y = points[:, 1, :, None].expand(-1, -1, SIDE).reshape(len(rays), SIDE * SIDE)
    return inside(torch.stack([x, y], -1), centres, rays).sigmoid().reshape(-1, SIDE, SIDE)


def inside(points: torch.Tensor, centres: torch.Tensor, rays: torch.Tensor) -> torch.Tensor:
    """By how many pixels points [n, k, 2] lie inside polygons with centres [n, 2] and rays [n, RAYS], along their ray.

    Between the tips of two rays the edge is straight: at an angle t from the first of two rays a and b that stand d
    apart it is a b sin(d) / (a sin(t) + b sin(d - t)) away.
    """
    apart = points - centres[:, None]
    distance = apart.norm(dim=-1)
    turned = torch.atan2(apart[..., 1], apart[..., 0]).remainder(2 * math.pi) * (RAYS / (2 * math.pi))
    first = turned.floor().long() % RAYS
    step = 2 * math.pi / RAYS
    t = (turned - turned.floor()) * step
    a, b = rays.gather(1, first), rays.gather(1, (first + 1) % RAYS)
    edge = a * b * math.sin(step) / (a * t.sin() + b * (step - t).sin()).clamp(min=1e-6)
    return edge - distance


def _alone(
    centres: torch.Tensor, rays: torch.Tensor, boxes: torch.Tensor, windows: torch.Tensor, masks: torch.Tensor
) -> torch.Tensor:
    """Places of the polygons that no surer one covers, in their order; overlaps are counted on grids of points."""
    count = len(rays)
    gone = torch.zeros(count, dtype=torch.bool)
    spread = (windows[:, 2:] - windows[:, :2]).float()
    cells = spread.prod(1) / masks[0].numel() if count else spread.prod(1)
    sizes = (masks > 0.5).sum((1, 2)) * cells
    overlap = (
        (boxes[:, None, :2] < boxes[None, :, 2:]).all(-1) & (boxes[None, :, :2] < boxes[:, None, 2:]).all(-1)
    ).cpu()  # [n, n]
    steps = (torch.arange(SIDE, device=rays.device, dtype=torch.float32) + 0.5) / SIDE
    for number in range(count):
        if gone[number]:
            continue
        others = torch.nonzero(overlap[number] & ~gone)[:, 0]
        others = others[others > number]
        if not len(others):
            continue
        mask = masks[number] > 0.5
        y, x = torch.nonzero(mask, as_tuple=True)
        points = windows[number, :2].float() + torch.stack([steps[x], steps[y]], 1) * spread[number]
        shared = inside(points.expand(len(others), -1, -1), centres[others], rays[others]) > 0
        both = shared.sum(1) * cells[number]
        iou = both / (sizes[number] + sizes[others] - both).clamp(min=1)
        gone[others[iou.cpu() > SAME_IOU]] = True
    return torch.nonzero(~gone)[:, 0].to(rays.device)
