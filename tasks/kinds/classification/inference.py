"""From a picture to probabilities. Used by the training, the predictor, and, copied beside `pyfunc_model.py`, anywhere.

This file stands alone: it imports nothing of Nightscope. Pictures are RGB, uint8, [height, width, 3]. A `spec` is what
`networks.py` says.

**Test-time augmentation**: logits are averaged over the eight ways to turn and mirror a square: what a microscope shows
has no up, and averaging before the softmax keeps the temperature's meaning. A classical head that learned from features
averaged over several symmetries (`spec["head"]["views"]`) sees them so always: test-time augmentation changes nothing.
"""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
import torch

Picture = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float64]

SYMMETRIES = 8
BATCH = 32


class Place(NamedTuple):
    """Where a picture lies in its square: top, left, height and width there, in pixels; may reach beyond the square."""

    top: int
    left: int
    height: int
    width: int


def place_of(height: int, width: int, side: int, fit: str) -> Place:
    """Where a picture of that size comes to lie in a square of that side; `fit` is pad, stretch or crop."""
    if fit == "stretch":
        return Place(0, 0, side, side)
    scale = side / (max if fit == "pad" else min)(height, width)
    scaled = max(1, round(height * scale)), max(1, round(width * scale))
    return Place((side - scaled[0]) // 2, (side - scaled[1]) // 2, *scaled)


def squared(picture: Picture, side: int, fit: str) -> Picture:
    """The picture as a square; what `pad` leaves free shows the picture mirrored."""
    height, width = picture.shape[:2]
    place = place_of(height, width, side, fit)
    shrinks = place.height * place.width < height * width
    scaled = cv2.resize(
        picture, (place.width, place.height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    )
    top, left = max(0, -place.top), max(0, -place.left)
    cut = scaled[top : top + side, left : left + side]
    margins = (max(0, place.top), max(0, place.left))
    below, right = side - cut.shape[0] - margins[0], side - cut.shape[1] - margins[1]
    framed = cv2.copyMakeBorder(cut, margins[0], below, margins[1], right, cv2.BORDER_REFLECT)
    return np.ascontiguousarray(framed, dtype=np.uint8)


def as_input(squares: torch.Tensor, spec: dict[str, Any]) -> torch.Tensor:
    """Squares, uint8 [n, 3, side, side], as the network wants them."""
    mean, std = (torch.tensor(spec[name], device=squares.device).view(1, 3, 1, 1) for name in ("mean", "std"))
    return ((squares.float() / 255 - mean) / std).contiguous(memory_format=torch.channels_last)


def turned(squares: torch.Tensor, way: int) -> torch.Tensor:
    """Squares in one of their `SYMMETRIES`; 0 is as they are."""
    mirrored = squares.flip(-1) if way >= SYMMETRIES // 2 else squares
    return torch.rot90(mirrored, way % (SYMMETRIES // 2), (-2, -1))


def stacked(squares: Sequence[Picture]) -> torch.Tensor:
    """Squares of one side as uint8 [n, 3, side, side]."""
    return torch.from_numpy(np.stack(squares)).permute(0, 3, 1, 2)


def logits_of(
    network: Any, pictures: Sequence[Picture], spec: dict[str, Any], *, tta: bool = False, device: str = "cpu"
) -> Floats:
    """What the network says of each picture, before temperature and softmax: [n, classes]."""
    squares = [squared(picture, spec["imgsz"], spec["fit"]) for picture in pictures]
    batches = (stacked(squares[start : start + BATCH]) for start in range(0, len(squares), BATCH))
    return logits_of_squares(network, batches, spec, tta=tta, device=device)


def logits_of_squares(
    network: Any, batches: Iterable[torch.Tensor], spec: dict[str, Any], *, tta: bool = False, device: str = "cpu"
) -> Floats:
    """As `logits_of`, of batches of squares, uint8 [n, 3, side, side] each."""
    parts = [np.zeros((0, len(spec["classes"])))]
    with torch.inference_mode():
        for batch in batches:
            parts.append(_looked_at(network, batch.to(device), spec, tta=tta).cpu().numpy())
    return np.concatenate(parts)


def _looked_at(network: Any, squares: torch.Tensor, spec: dict[str, Any], *, tta: bool) -> torch.Tensor:
    """Logits, float64 [n, classes], of squares in one look, in all of them, or in those whose features are averaged."""
    if views := spec["head"].get("views", 0):  # whoever trained the head averaged the features, too
        found = [network.features(as_input(turned(squares, way), spec)) for way in range(views)]
        scores: torch.Tensor = network.scores(torch.stack(found).double().mean(0))
        return scores
    looks = [network(as_input(turned(squares, way), spec)) for way in range(SYMMETRIES if tta else 1)]
    return torch.stack(looks).double().mean(0)


def probabilities(logits: Floats, temperature: float, *, multi_label: bool) -> Floats:
    """Probabilities [n, classes] of logits [n, classes]; those of one choice sum to 1."""
    scaled = logits / temperature
    if multi_label:
        chances: Floats = np.exp(-np.logaddexp(0, -scaled))
        return chances
    raised = np.exp(scaled - scaled.max(1, keepdims=True))
    shares: Floats = raised / raised.sum(1, keepdims=True)
    return shares


def predict(
    network: Any, pictures: Sequence[Picture], spec: dict[str, Any], *, tta: bool = False, device: str = "cpu"
) -> Floats:
    """Probabilities [n, classes] of pictures of any size."""
    logits = logits_of(network, pictures, spec, tta=tta, device=device)
    temperature = spec["temperature"]["tta" if tta else "plain"]
    return probabilities(logits, temperature, multi_label=spec["multi_label"])
