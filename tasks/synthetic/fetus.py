"""A fetus in the womb as a few shapes: a head in its skull, an abdomen, arms and legs with their bones.

Sizes go by the head's half length. That a head is some 0.78 as wide as long is the usual cephalic index; all the rest
(how long limbs are, how bright a tissue is, what a bone swallows) is made up to look like it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from tasks.synthetic.speckle import Floats

PartName = Literal["head", "abdomen", "arms", "legs"]
PARTS: tuple[PartName, ...] = ("head", "abdomen", "arms", "legs")
View = Literal["whole", "head", "abdomen", "limbs"]
VIEWS: tuple[View, ...] = ("whole", "head", "abdomen", "limbs")
_VIEW_SHARES = (0.4, 0.22, 0.2, 0.18)

FLUID_DB, TISSUE_DB, WALL_DB, BONE_DB = -38.0, 0.0, 3.0, 22.0
"""Power that comes back, above soft tissue's."""
_BONE_LOSS_DB_PER_PX = 2.2
_GRAZED_DB = 16.0
"""What a skull sends back less where waves run along it."""
_CEPHALIC_INDEX = (0.72, 0.84)
_ROUND = ("head", "abdomen")


@dataclass(frozen=True)
class BodyPart:
    """One part of the body.

    Attributes:
        label: Its class.
        middle: x and y in pixels.
        half_px: Half its length, and half its width.
        turn_rad: Of its length, from the x axis.
    """

    label: PartName
    middle: tuple[float, float]
    half_px: tuple[float, float]
    turn_rad: float

    @property
    def area_px(self) -> float:
        """What it covers, also beyond the picture."""
        length, width = self.half_px
        ellipse = np.pi * length * width
        return float(ellipse if self.label in _ROUND else 4 * (length - width) * width + np.pi * width**2)

    def at(self, along: float, across: float) -> tuple[float, float]:
        """A place of its own, in half lengths and half widths, in pixels of the picture."""
        u, v = along * self.half_px[0], across * self.half_px[1]
        cos, sin = np.cos(self.turn_rad), np.sin(self.turn_rad)
        return float(self.middle[0] + u * cos - v * sin), float(self.middle[1] + u * sin + v * cos)


@dataclass
class Tissue:
    """What waves meet, [y, x].

    Attributes:
        echo_db: Power that comes back, above soft tissue's.
        loss_db_per_px: What a pixel of the way takes.
    """

    echo_db: Floats
    loss_db_per_px: Floats


def pose(view: View, shape: tuple[int, ...], size_px: float, rng: np.random.Generator) -> tuple[BodyPart, ...]:
    """The body parts that a view may show, some of them beyond the picture.

    Args:
        view: What the probe looks at.
        shape: Height and width of the picture.
        size_px: Half the head's length where all of the body is in view; in the others it is nearer.
        rng: The pose.
    """
    near = 1.0 if view == "whole" else float(rng.uniform(1.45, 1.9))
    unit, turn = size_px * near, float(rng.uniform(0, 2 * np.pi))
    axis = np.array([np.cos(turn), np.sin(turn)])
    aim = {"whole": 0.95, "head": 0.0, "abdomen": 2.1, "limbs": float(rng.choice([1.6, 3.6]))}[view] * unit
    centre = np.array([shape[1] / 2, shape[0] * 0.54]) + rng.uniform(-0.07, 0.07, 2) * shape[::-1]
    head_at = centre - aim * axis
    head = BodyPart("head", _xy(head_at), (unit, unit * float(rng.uniform(*_CEPHALIC_INDEX))), turn)
    bent = turn + float(rng.uniform(-0.3, 0.3))
    trunk_at = head_at + (1.0 + 1.1) * unit * np.array([np.cos(bent), np.sin(bent)])
    trunk = BodyPart("abdomen", _xy(trunk_at), (1.15 * unit, 0.88 * unit * float(rng.uniform(0.9, 1.1))), bent)
    limbs = [_limb("arms", trunk, (-0.55, side), 0.62 * unit, 0.17 * unit, rng) for side in (-1, 1)]
    limbs += [_limb("legs", trunk, (0.75, side), 0.88 * unit, 0.25 * unit, rng) for side in (-1, 1)]
    return {"whole": (head, trunk, *limbs), "head": (head, *limbs[:2]), "abdomen": (trunk, *limbs),
            "limbs": tuple(limbs)}[view]  # fmt: skip


def draw_view(rng: np.random.Generator) -> View:
    """What a picture looks at: mostly all of it."""
    return VIEWS[int(rng.choice(len(VIEWS), p=_VIEW_SHARES))]


def covers(part: BodyPart, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Which pixels a part covers, [y, x]: of head and abdomen an ellipse, of a limb a capsule."""
    return _reach(part, shape) <= 1


def womb(shape: tuple[int, int], rng: np.random.Generator) -> Tissue:
    """Soft tissue around a sac of fluid, and a placenta on its wall."""
    y, x = (grid / side - 0.5 for grid, side in zip(np.mgrid[: shape[0], : shape[1]], shape, strict=True))
    angle = np.arctan2(y, x)
    edge = 1 + sum(rng.uniform(0, 0.12) / wave * np.cos(wave * angle + rng.uniform(0, 6.3)) for wave in (2, 3, 4, 5))
    reach = np.hypot(x / rng.uniform(0.5, 0.62), (y - 0.06) / rng.uniform(0.4, 0.46)) / edge
    texture = cv2.GaussianBlur(rng.normal(0, 1, shape).astype(np.float32), (0, 0), 9.0) * 40
    echo = np.where(reach < 1, FLUID_DB, TISSUE_DB + np.clip(texture, -5, 5))
    placenta = (reach < 1) & (reach > 0.8) & (np.cos(angle - rng.uniform(0, 6.3)) > rng.uniform(0.3, 0.8))
    echo = np.where(placenta, -3.0 + np.clip(texture, -3, 3), echo)
    echo = np.where(np.abs(reach - 1) < 0.02, WALL_DB, echo)
    loss = np.where(reach < 1, 0.004, 0.03)
    return Tissue(echo.astype(np.float32), loss.astype(np.float32))


def lay(part: BodyPart, tissue: Tissue, rng: np.random.Generator) -> None:
    """Put a part into the tissue, in place of what is there."""
    reach, level = _reach(part, tissue.echo_db.shape), float(rng.uniform(-6, -2))
    own = reach <= 1
    tissue.echo_db[own] = level
    tissue.loss_db_per_px[own] = 0.03
    if part.label == "head":
        _skull(part, reach, tissue, rng)
    elif part.label == "abdomen":
        _organs(part, reach, tissue, rng)
    else:
        skin = own & (reach > 0.8)
        tissue.echo_db[skin] = WALL_DB
        _bone(tissue, [part.at(-0.75, 0), part.at(0.75, 0)], max(2, round(0.45 * part.half_px[1])))


def _skull(part: BodyPart, reach: Floats, tissue: Tissue, rng: np.random.Generator) -> None:
    """Bone all around, dark brain, the falx along the middle, and two dark ventricles."""
    thick = max(0.07, 2.0 / part.half_px[1])
    bone = (reach <= 1) & (reach > 1 - thick)
    brain = reach <= 1 - thick
    tissue.echo_db[brain] = float(rng.uniform(-16, -11))
    for side in (-1, 1):
        middle = part.at(float(rng.uniform(0.1, 0.3)), 0.4 * side)
        _ellipse(tissue.echo_db, middle, (0.3 * part.half_px[0], 0.16 * part.half_px[1]), part.turn_rad, -26.0)
    ends = [tuple(round(v) for v in part.at(along, 0)) for along in (-0.8, 0.8)]
    cv2.line(tissue.echo_db, ends[0], ends[1], 4.0, 1)
    # Waves come from above: where they graze the skull, little comes back.
    down, right = np.gradient(reach)
    upright = np.abs(down) / np.maximum(np.hypot(down, right), 1e-6)
    tissue.echo_db[bone] = (BONE_DB - _GRAZED_DB * (1 - upright))[bone]
    tissue.loss_db_per_px[bone] = _BONE_LOSS_DB_PER_PX / 2


def _organs(part: BodyPart, reach: Floats, tissue: Tissue, rng: np.random.Generator) -> None:
    """Skin, a stomach full of fluid, and the spine, which casts a shadow."""
    tissue.echo_db[(reach <= 1) & (reach > 0.92)] = WALL_DB
    half = part.half_px[1] * float(rng.uniform(0.16, 0.26))
    _ellipse(tissue.echo_db, part.at(float(rng.uniform(-0.3, 0.1)), 0.4), (1.4 * half, half), part.turn_rad, FLUID_DB)
    for along in np.arange(-0.6, 0.65, 0.2):
        _bone(tissue, [part.at(float(along), -0.68)] * 2, max(2, round(0.1 * part.half_px[1])))


def _bone(tissue: Tissue, ends: list[tuple[float, float]], thick_px: int) -> None:
    first, last = (tuple(round(v) for v in end) for end in ends)
    cv2.line(tissue.echo_db, first, last, BONE_DB, thick_px)
    cv2.line(tissue.loss_db_per_px, first, last, _BONE_LOSS_DB_PER_PX, thick_px)


def _ellipse(
    picture: Floats, middle: tuple[float, float], half_px: tuple[float, float], turn: float, level: float
) -> None:
    where = tuple(round(v) for v in middle)
    axes = tuple(max(1, round(v)) for v in half_px)
    cv2.ellipse(picture, where, axes, float(np.degrees(turn)), 0, 360, level, -1)


def _limb(
    label: PartName, trunk: BodyPart, root: tuple[float, float], half_length: float, half_width: float,
    rng: np.random.Generator,
) -> BodyPart:  # fmt: skip
    """A limb that begins at the trunk's side and points away from it."""
    along, side = root
    turn = (
        trunk.turn_rad + side * float(rng.uniform(0.5, 1.4)) + (np.pi if label == "arms" and rng.random() < 0.4 else 0)
    )
    half = half_length * float(rng.uniform(0.85, 1.1))
    direction = np.array([np.cos(turn), np.sin(turn)])
    if float(direction @ (np.array(trunk.at(along, side)) - np.array(trunk.middle))) < 0:
        direction, turn = -direction, turn + np.pi  # never into the trunk
    middle = np.array(trunk.at(along, side * 0.9)) + half * direction
    return BodyPart(label, _xy(middle), (half, half_width), float(turn))


def _xy(place: NDArray[np.floating]) -> tuple[float, float]:
    return float(place[0]), float(place[1])


def _reach(part: BodyPart, shape: tuple[int, ...]) -> Floats:
    """How far out each pixel lies: 0 in the middle of a part, 1 on its outline."""
    y, x = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
    cos, sin = np.cos(part.turn_rad), np.sin(part.turn_rad)
    along = (x - part.middle[0]) * cos + (y - part.middle[1]) * sin
    across = (y - part.middle[1]) * cos - (x - part.middle[0]) * sin
    length, width = part.half_px
    if part.label in _ROUND:
        return np.asarray(np.hypot(along / length, across / width), np.float32)
    beyond = np.maximum(np.abs(along) - (length - width), 0)
    return np.asarray(np.hypot(beyond, across) / width, np.float32)
