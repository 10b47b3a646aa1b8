"""Pictures of cells with exact masks: bright on dark, as fluorescence shows them, or stained on a bright ground.

    <folder>/images/D03_0012.png    number 12, of donor D03
    <folder>/masks/D03_0012.png     16 bits: 0 the ground, 1, 2 ... one number for each cell

Each picture follows from its number and the seed alone. Donors differ in light, focus, noise, and in how large and
crowded their cells are; of two donors one is stained. Cells touch, and the picture's edge cuts some; no two share a
pixel. No number measured on these pictures says anything about real ones.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

CellLook = Literal["fluorescence", "stained"]
SIDE_PX = (192, 257)
"""From and below."""
CELLS = (8, 26)
"""From and below."""
_TRIES = 400
_LEAST_FREE = 0.82
"""A cell that others cover more of is laid elsewhere."""
_BESIDE = 0.55
"""So often a cell is laid beside another one, and not anywhere."""
_WAVES = (2, 3, 4, 5)

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class CellPicture:
    """A picture, and where its cells are.

    Attributes:
        number: From 1.
        donor: 'D01', ...
        look: Of the donor.
        image: uint8, [h, w] grey, or [h, w, 3] BGR where it is stained.
        labels: uint16 [h, w]: 0 the ground, else the cell, from 1 without a gap.
    """

    number: int
    donor: str
    look: CellLook
    image: NDArray[np.uint8]
    labels: NDArray[np.uint16]

    @property
    def file(self) -> str:
        """Its name, as picture and as mask."""
        return f"{self.donor}_{self.number:04d}.png"


@dataclass(frozen=True)
class _Donor:
    """What the pictures of one donor have in common; grey levels are of 0 to 1.

    Attributes:
        look: Bright on dark, or stained.
        radius_px: The cells' mean radius.
        slim: How much longer than wide they are, at most.
        ground: Grey level of the ground.
        contrast: Between ground and a mean cell.
        gradient: Grey levels across the picture from uneven light, along x and y.
        blur_px: Standard deviation of the optics' point spread.
        noise: Standard deviation of the camera's noise.
        ink: Of a stained picture: what the stain lets through of blue, green and red; `paper`: the ground's.
    """

    look: CellLook
    radius_px: float
    slim: float
    ground: float
    contrast: float
    gradient: tuple[float, float]
    blur_px: float
    noise: float
    ink: tuple[float, float, float]
    paper: tuple[float, float, float]


def draw_picture(number: int, *, donors: int = 10, seed: int = 0) -> CellPicture:
    """Draw one picture of a data set; donors take turns."""
    rng = np.random.default_rng([seed, 11, number])
    who = (number - 1) % donors + 1
    donor = _draw_donor(who, seed)
    height, width = (int(side) for side in rng.integers(*SIDE_PX, 2))
    labels, depth = _lay_cells((height, width), donor, int(rng.integers(*CELLS)), rng)
    density = _density(labels, depth, donor, rng)
    image = _fluorescence(density, donor, rng) if donor.look == "fluorescence" else _stained(density, donor, rng)
    return CellPicture(number, f"D{who:02d}", donor.look, image, labels)


def write_pictures(
    folder: Path,
    *,
    count: int,
    donors: int = 10,
    seed: int = 0,
    first: int = 1,
    on_done: Callable[[int], None] = lambda done: None,
) -> list[CellPicture]:
    """Write a data set as two folders, pictures and label images; the same arguments write the same bytes.

    Args:
        folder: Where to; made if absent.
        count: How many pictures.
        donors: How many donors they come from.
        seed: That all of it follows from.
        first: Number of the first; to add more to a folder later.
        on_done: Called with how many are written.
    """
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    made = []
    for number in range(first, first + count):
        picture = draw_picture(number, donors=donors, seed=seed)
        for name, pixels in (("images", picture.image), ("masks", picture.labels)):
            (folder / name / picture.file).write_bytes(cv2.imencode(".png", pixels)[1].tobytes())
        made.append(picture)
        on_done(len(made))
    return made


def _draw_donor(number: int, seed: int) -> _Donor:
    rng = np.random.default_rng([seed, 12, number])
    uniform = rng.uniform
    return _Donor(
        look="fluorescence" if number % 2 else "stained",
        radius_px=uniform(8, 14),
        slim=uniform(1.1, 1.6),
        ground=uniform(0.03, 0.10),
        contrast=uniform(0.3, 0.65),
        gradient=(uniform(-0.06, 0.06), uniform(-0.06, 0.06)),
        blur_px=uniform(0.7, 1.4),
        noise=uniform(0.01, 0.03),
        ink=(uniform(0.45, 0.65), uniform(0.2, 0.35), uniform(0.35, 0.5)),
        paper=(uniform(0.84, 0.94), uniform(0.74, 0.86), uniform(0.88, 0.97)),
    )


def _lay_cells(
    shape: tuple[int, int], donor: _Donor, count: int, rng: np.random.Generator
) -> tuple[NDArray[np.uint16], Floats]:
    """Lay cells one after the other, each only where no other is.

    Returns:
        The label image, and how deep in its cell each pixel lies: 1 in the middle, 0 at the outline.
    """
    labels, depth = np.zeros(shape, dtype=np.uint16), np.zeros(shape, dtype=np.float32)
    middles: list[tuple[float, float]] = []
    for _ in range(_TRIES):
        if len(middles) == count:
            break
        y, x = _place(shape, donor, middles, rng)
        inside = _blob(shape, (y, x), donor, rng)
        own = inside > 0
        free = own & (labels == 0)
        # What the others leave of it must be one piece, and most of it.
        if (
            free.sum() < max(30, _LEAST_FREE * own.sum())
            or cv2.connectedComponents(free.view(np.uint8), connectivity=4)[0] != 2
        ):
            continue
        middles.append((y, x))
        labels[free], depth[free] = len(middles), inside[free]
    return labels, depth


def _place(
    shape: tuple[int, int], donor: _Donor, middles: list[tuple[float, float]], rng: np.random.Generator
) -> tuple[float, float]:
    """Where the next cell's middle lies: beside another cell, or anywhere."""
    if middles and rng.random() < _BESIDE:
        y, x = middles[int(rng.integers(len(middles)))]
        turn, apart = rng.uniform(0, 2 * np.pi), donor.radius_px * rng.uniform(1.7, 2.3)
        y, x = y + apart * np.sin(turn), x + apart * np.cos(turn)
    else:
        y, x = rng.uniform(0, shape[0]), rng.uniform(0, shape[1])
    return float(np.clip(y, 0, shape[0])), float(np.clip(x, 0, shape[1]))


def _blob(shape: tuple[int, int], middle: tuple[float, float], donor: _Donor, rng: np.random.Generator) -> Floats:
    """A smooth random outline, filled: 1 in the middle, 0 from the outline on; float32 of the picture's shape."""
    y, x = (grid - at for grid, at in zip(np.mgrid[: shape[0], : shape[1]].astype(np.float32), middle, strict=True))
    turn, slim = rng.uniform(0, np.pi), np.sqrt(rng.uniform(1.0, donor.slim))
    along = (x * np.cos(turn) + y * np.sin(turn)) / slim
    across = (y * np.cos(turn) - x * np.sin(turn)) * slim
    angle = np.arctan2(across, along)
    radius = np.full(shape, donor.radius_px * np.clip(rng.normal(1, 0.15), 0.65, 1.4), dtype=np.float32)
    for wave in _WAVES:
        radius *= 1 + rng.uniform(0, 0.16) / wave * np.cos(wave * angle + rng.uniform(0, 2 * np.pi))
    return np.asarray(np.clip(1 - np.hypot(along, across) / radius, 0, 1), dtype=np.float32)


def _density(labels: NDArray[np.uint16], depth: Floats, donor: _Donor, rng: np.random.Generator) -> Floats:
    """How much dye there is, 0 on the ground and about 1 in a cell: each as bright as it likes, mottled, blurred."""
    bright = np.concatenate([[0.0], np.clip(rng.normal(1, 0.22, int(labels.max())), 0.5, 1.6)]).astype(np.float32)
    mottle = cv2.GaussianBlur(rng.normal(0, 1, labels.shape).astype(np.float32), (0, 0), 2.0)
    full = bright[labels] * (0.62 + 0.38 * np.minimum(1, 2.2 * depth)) * (1 + 0.9 * mottle)
    return np.asarray(cv2.GaussianBlur(np.maximum(full, 0), (0, 0), donor.blur_px), dtype=np.float32)


def _uneven(shape: tuple[int, ...], donor: _Donor) -> Floats:
    """Grey levels that uneven light adds."""
    y, x = (np.linspace(-0.5, 0.5, side, dtype=np.float32) for side in shape[:2])
    return np.asarray(donor.gradient[1] * y[:, None] + donor.gradient[0] * x, dtype=np.float32)


def _fluorescence(density: Floats, donor: _Donor, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Light from the cells alone, with shot noise and the camera's."""
    glow = cv2.GaussianBlur(density, (0, 0), 12)
    light = donor.ground + donor.contrast * (density + 0.12 * glow) + np.abs(_uneven(density.shape, donor))
    noise = rng.normal(0, 1, density.shape) * np.sqrt(donor.noise**2 + 0.0008 * np.maximum(light, 0))
    return _as_bytes(light + noise)


def _stained(density: Floats, donor: _Donor, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Light through the cells: what is left of the paper's behind the dye (Beer and Lambert)."""
    tissue = cv2.GaussianBlur(rng.normal(0, 1, density.shape).astype(np.float32), (0, 0), 6)
    dye = (0.55 + donor.contrast) * density + 0.35 * np.abs(tissue)
    light = np.array(donor.paper) * np.exp(dye[:, :, None] * np.log(np.array(donor.ink)))
    light = light + _uneven(density.shape, donor)[:, :, None] + rng.normal(0, donor.noise, (*density.shape, 3))
    return _as_bytes(light)


def _as_bytes(light: NDArray[np.floating]) -> NDArray[np.uint8]:
    return np.asarray(np.rint(np.clip(light, 0, 1) * 255), dtype=np.uint8)
