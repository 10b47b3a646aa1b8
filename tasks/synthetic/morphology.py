"""Pictures of single sperm heads, normal and with defects, and of what is not a sperm: a data set like SMIDS.

    <folder>/<class>/D03_0012.png    number 12, of donor D03
    <folder>/labels.csv              file, donor, class, and each of `DEFECTS`: 1, 0, or nothing where there is no sperm

Each picture follows from its number and the seed alone. Donors differ in light and optics, as in `recordings`.

A head is abnormal by its shape (tapered, round, amorphous, small, large), a tail by its own (bent, coiled, stump), and
vacuoles lie in the head. The forms are those that the WHO manual (6th edition, 2021, 2.4.7) lists; how often they occur
together, and how they look, is made up. No number measured on these pictures says anything about real ones.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from tasks.synthetic import deformities
from tasks.synthetic.look import Look, draw_look
from tasks.synthetic.motion import Floats, draw_motion
from tasks.synthetic.render import Renderer
from tasks.synthetic.scene import Body, Scene, SceneSpec
from tasks.synthetic.shapes import OUTLINE_POINTS, ImpurityKind, head_outline, impurity_outline

PictureClass = Literal["normal", "abnormal", "non_sperm"]
Defect = Literal["head", "vacuole", "tail"]
CLASSES: tuple[PictureClass, ...] = ("normal", "abnormal", "non_sperm")
DEFECTS: tuple[Defect, ...] = ("head", "vacuole", "tail")
UM_PER_PX = 0.12
SIDE_PX = (88, 105)
"""From and below: crops are not all of one size."""
_DEBRIS: tuple[ImpurityKind, ...] = ("round_cell", "particle")
"""No droplets: any two are circles, and the leak audit would take their pictures for one."""
_BASE_UM = 0.92
"""Where a tail begins, as a share of the head's half length."""


@dataclass(frozen=True)
class MorphologyPicture:
    """A picture, and what it shows.

    Attributes:
        number: From 1.
        donor: 'D01', ...
        label: Its class.
        defects: Those of a sperm; empty for a normal one.
        image: [h, w, 3] BGR, uint8.
    """

    number: int
    donor: str
    label: PictureClass
    defects: frozenset[Defect]
    image: NDArray[np.uint8]

    @property
    def file(self) -> str:
        """Its path below the data set's folder."""
        return f"{self.label}/{self.donor}_{self.number:04d}.png"


def draw_picture(number: int, *, donors: int = 10, seed: int = 0) -> MorphologyPicture:
    """Draw one picture of a data set; classes and donors take turns."""
    rng = np.random.default_rng([seed, 7, number])
    donor = (number - 1) // len(CLASSES) % donors + 1
    label = CLASSES[(number - 1) % len(CLASSES)]
    defects = _draw_defects(rng) if label == "abnormal" else frozenset[Defect]()
    width, height = (int(side) for side in rng.integers(*SIDE_PX, 2))
    spec = SceneSpec(width, height, UM_PER_PX, np.zeros(1), _look_of(donor, seed))
    bodies = _debris(spec, rng) if label == "non_sperm" else _sperm(spec, defects, rng)
    scene = Scene(spec, tuple(bodies), np.zeros((1, 2)), (width, height), 0.0, int(rng.integers(2**31)))
    return MorphologyPicture(number, f"D{donor:02d}", label, defects, _tinted(Renderer(scene).frame(0), spec.look))


def write_pictures(
    folder: Path,
    *,
    count: int,
    donors: int = 10,
    seed: int = 0,
    first: int = 1,
    on_done: Callable[[int], None] = lambda done: None,
) -> list[MorphologyPicture]:
    """Write a data set as class folders and a table; the same arguments write the same bytes.

    Args:
        folder: Where to; made if absent.
        count: How many pictures; of each class a third.
        donors: How many donors they come from.
        seed: That all of it follows from.
        first: Number of the first; to add more to a folder later. The table then names the new ones only.
        on_done: Called with how many are written.
    """
    made = []
    for number in range(first, first + count):
        picture = draw_picture(number, donors=donors, seed=seed)
        path = folder / picture.file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(cv2.imencode(".png", picture.image)[1].tobytes())
        made.append(picture)
        on_done(len(made))
    with (folder / "labels.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("file", "donor", "class", *DEFECTS), *_rows(made)])
    return made


def _rows(pictures: list[MorphologyPicture]) -> Iterator[tuple[object, ...]]:
    for each in pictures:
        values = ["" if each.label == "non_sperm" else int(name in each.defects) for name in DEFECTS]
        yield (each.file, each.donor, each.label, *values)


def _draw_defects(rng: np.random.Generator) -> frozenset[Defect]:
    """One defect mostly, two or three sometimes; at least one."""
    count = int(rng.choice([1, 2, 3], p=[0.7, 0.25, 0.05]))
    return frozenset(DEFECTS[place] for place in rng.permutation(len(DEFECTS))[:count])


def _look_of(donor: int, seed: int) -> Look:
    """A donor's light and optics, sharper than in recordings: heads are looked at closely."""
    look = draw_look(np.random.default_rng([seed, 3, donor]), (1, 1), (0, 0))
    return replace(look, specks=2.0, noise=look.noise * 0.8)


def _sperm(spec: SceneSpec, defects: frozenset[Defect], rng: np.random.Generator) -> list[Body]:
    outline = deformities.head(rng) if "head" in defects else head_outline(rng)
    base_um = _BASE_UM * float(outline[:, 0].max())
    tail = deformities.tail(rng, base_um) if "tail" in defects else deformities.straight_tail(rng, base_um)
    head = _body(spec, "sperm", "immotile", outline, rng, tail_um=tail)
    spots = deformities.vacuoles(rng, outline) if "vacuole" in defects else []
    return [head, *(_spot(spec, head, spot, rng) for spot in spots)]


def _debris(spec: SceneSpec, rng: np.random.Generator) -> list[Body]:
    """One thing or two that are not a sperm, or a tail without a head."""
    if rng.random() < 0.15:
        speck = impurity_outline("particle", rng) * 0.25
        return [_body(spec, "impurity", "particle", speck, rng, tail_um=deformities.straight_tail(rng, 0.5))]
    count = 2 if rng.random() < 0.25 else 1
    kinds = [_DEBRIS[int(rng.integers(len(_DEBRIS)))] for _ in range(count)]
    apart = 6.0 if count > 1 else 1.5
    return [_body(spec, "impurity", kind, impurity_outline(kind, rng), rng, spread_um=apart) for kind in kinds]


def _body(
    spec: SceneSpec, label: str, kind: str, outline_um: Floats, rng: np.random.Generator,
    *, tail_um: Floats | None = None, spread_um: float = 1.5,
) -> Body:  # fmt: skip
    middle = np.array([spec.width_px, spec.height_px]) / 2
    centre = middle + rng.uniform(-spread_um, spread_um, 2) / 2 / spec.um_per_px
    return Body(
        label=label, kind=kind, motion=draw_motion("immotile", rng), outline_px=outline_um / spec.um_per_px,
        centre_px=centre[None], sample_um=centre[None] * spec.um_per_px, angle_rad=rng.uniform(0, 2 * np.pi, 1),
        breadth=np.ones(1), visit=np.zeros(1, np.int64),
        tail_px=None if tail_um is None else tail_um[None] / spec.um_per_px,
        depth=float(np.clip(rng.normal(0, 0.4), -0.9, 0.9)), darkness=float(rng.uniform(0.85, 1.1)),
        texture_seed=int(rng.integers(2**31)),
    )  # fmt: skip


def _spot(spec: SceneSpec, head: Body, spot: deformities.Spot, rng: np.random.Generator) -> Body:
    """A vacuole: a pale spot that lies in the head and turns with it."""
    turn = np.linspace(0, 2 * np.pi, OUTLINE_POINTS, endpoint=False)
    circle = spot.radius_um * np.column_stack([np.cos(turn), np.sin(turn)])
    cos, sin = np.cos(head.angle_rad[0]), np.sin(head.angle_rad[0])
    x, y = spot.x_um / spec.um_per_px, spot.y_um / spec.um_per_px
    centre = head.centre_px + np.array([x * cos - y * sin, x * sin + y * cos])
    return replace(
        head, label="impurity", kind="particle", outline_px=circle / spec.um_per_px, centre_px=centre, tail_px=None,
        darkness=-0.6 * head.darkness, texture_seed=int(rng.integers(2**31)),
    )  # fmt: skip


def _tinted(grey: NDArray[np.uint8], look: Look) -> NDArray[np.uint8]:
    chroma = [np.full_like(grey, round(128 + each)) for each in look.tint]
    return np.asarray(cv2.cvtColor(np.dstack([grey, *chroma]), cv2.COLOR_YUV2BGR), dtype=np.uint8)
