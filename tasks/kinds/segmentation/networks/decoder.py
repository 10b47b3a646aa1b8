"""Stage 2: from a box to a mask, of all boxes of a batch at once.

As in SAM (Kirillov et al. 2023) a box prompts a light decoder on features that are there already. Since cells are
small, the decoder looks at the box's window alone: the box, enlarged by a quarter, cut out of the shared features by
RoIAlign (He et al. 2017, arXiv:1703.06870). The prompt is where in the window the box lies, and how large it is.
"""

import math

import torch
from torch import nn
from torch.nn.functional import interpolate
from torchvision.ops import roi_align

from tasks.kinds.segmentation.networks.encoders import DETAIL, convolved

GRID = 14
"""Side of the features that are cut out."""
SIDE = 2 * GRID
"""Side of a mask."""
ENLARGED = 1.25
"""A window's side, in sides of its box."""
LEAST_PX = 4.0
"""Side of the smallest window: below it there is nothing to see."""
BATCH = 256
"""Boxes that are decoded together: bounds the memory."""
_FREQUENCIES = 4


def windows_of(boxes: torch.Tensor) -> torch.Tensor:
    """Windows int64 [n, 4] of boxes [n, 4]: enlarged, and whole pixels outwards; may reach beyond the picture."""
    centres, sides = (boxes[:, :2] + boxes[:, 2:]) / 2, (boxes[:, 2:] - boxes[:, :2]).clamp(min=LEAST_PX)
    half = sides * ENLARGED / 2
    return torch.cat([(centres - half).floor(), (centres + half).ceil()], 1).long()


class MaskDecoder(nn.Module):  # type: ignore[misc]
    """Mask logits over the windows of boxes.

    Args:
        width: Channels of the pyramid.
        channels: Of the decoder. Few: what is heavy is done once a picture, in `prepared`.
    """

    def __init__(self, width: int, channels: int = 32) -> None:
        super().__init__()
        self.prompt = nn.Sequential(
            nn.Linear(4 + 16 * _FREQUENCIES // 2, channels), nn.ReLU(inplace=True), nn.Linear(channels, channels)
        )
        self.stems = nn.ModuleDict({str(stride): convolved(width, channels) for stride in (4, 8)})
        self.detail = convolved(DETAIL, DETAIL)
        self.coarse = nn.Conv2d(2 * channels, channels, 1)
        self.place = nn.Conv2d(3, channels, 1)
        self.blocks = nn.ModuleList(_Block(channels) for _ in range(2))
        self.up = nn.Sequential(nn.Conv2d(channels, 4 * DETAIL, 1), nn.PixelShuffle(2))
        self.fine = nn.Sequential(convolved(DETAIL, DETAIL), nn.Conv2d(DETAIL, 1, 1))

    def prepared(self, features: dict[int, torch.Tensor]) -> dict[int, torch.Tensor]:
        """What of the encoder's features all boxes share, by stride: the finest, and 4 and 8 as one.

        What is done here costs once a picture; cutting out of one map instead of two is a third less for each box.
        """
        near, far = (stem(features[int(stride)]) for stride, stem in self.stems.items())
        far = interpolate(far, near.shape[-2:], mode="bilinear", align_corners=False)
        return {2: self.detail(features[2]), 4: self.coarse(torch.cat([near, far], 1))}

    def forward(
        self, features: dict[int, torch.Tensor], boxes: torch.Tensor, pictures: torch.Tensor, windows: torch.Tensor
    ) -> torch.Tensor:
        """Logits [n, SIDE, SIDE].

        Args:
            features: As `prepared` gives them.
            boxes: x1, y1, x2, y2 in pixels, [n, 4].
            pictures: Which picture of the batch each is in, int64 [n].
            windows: As `windows_of` gives them.
        """
        at = torch.cat([pictures[:, None], windows], 1).float()  # half precision has no pixel 257
        seen = roi_align(features[4].float(), at, GRID, 1 / 4, 1, aligned=True)
        seen = seen.contiguous(memory_format=torch.channels_last)  # twice as fast on a CPU
        seen = seen + self.place(_in_window(boxes, windows).contiguous(memory_format=torch.channels_last))
        seen = torch.relu(seen + self.prompt(_encoded(boxes, windows))[:, :, None, None])
        for block in self.blocks:
            seen = block(seen)
        detail = roi_align(features[2].float(), at, SIDE, 1 / 2, 1, aligned=True)
        logits: torch.Tensor = self.fine(self.up(seen) + detail)
        return logits[:, 0]

    def masks(self, features: dict[int, torch.Tensor], boxes: torch.Tensor, windows: torch.Tensor) -> torch.Tensor:
        """Chances float32 [n, SIDE, SIDE] of boxes of the one picture whose prepared features these are."""
        parts = [torch.zeros(0, SIDE, SIDE, device=boxes.device)]
        for start in range(0, len(boxes), BATCH):
            part, its = boxes[start : start + BATCH], windows[start : start + BATCH]
            zeros = torch.zeros(len(part), dtype=torch.int64, device=boxes.device)
            parts.append(self(features, part, zeros, its).float().sigmoid())
        return torch.cat(parts)


class _Block(nn.Module):  # type: ignore[misc]
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = convolved(channels, channels)
        self.second = nn.Sequential(nn.Conv2d(channels, channels, 3, 1, 1, bias=False), nn.BatchNorm2d(channels))

    def forward(self, seen: torch.Tensor) -> torch.Tensor:
        return torch.relu(seen + self.second(self.first(seen)))


def _in_window(boxes: torch.Tensor, windows: torch.Tensor) -> torch.Tensor:
    """Where each point of the grid lies, [n, 3, GRID, GRID]: x and y in the box, -1 to 1 from edge to edge; in it."""
    steps = (torch.arange(GRID, device=boxes.device, dtype=torch.float32) + 0.5) / GRID
    sides = (windows[:, 2:] - windows[:, :2]).float()
    points = windows[:, :2, None].float() + sides[:, :, None] * steps  # [n, 2, GRID]
    centres, half = (boxes[:, :2] + boxes[:, 2:]) / 2, (boxes[:, 2:] - boxes[:, :2]).clamp(min=1) / 2
    relative = (points - centres[:, :, None]) / half[:, :, None]
    x = relative[:, 0, None, :].expand(-1, GRID, -1)
    y = relative[:, 1, :, None].expand(-1, -1, GRID)
    return torch.stack([x, y, ((x.abs() <= 1) & (y.abs() <= 1)).float()], 1)


def _encoded(boxes: torch.Tensor, windows: torch.Tensor) -> torch.Tensor:
    """Corners in the window as Fourier features, and log of sides, [n, 4 + 8 * frequencies]."""
    sides = (boxes[:, 2:] - boxes[:, :2]).clamp(min=1)
    extent = (windows[:, 2:] - windows[:, :2]).float()
    corners = (boxes - windows[:, [0, 1, 0, 1]].float()) / extent[:, [0, 1, 0, 1]]
    angles = corners[:, :, None] * (2.0 ** torch.arange(_FREQUENCIES, device=boxes.device)) * math.pi
    log = (sides / 32).log()
    return torch.cat([log, log.flip(1), angles.sin().flatten(1), angles.cos().flatten(1)], 1)
