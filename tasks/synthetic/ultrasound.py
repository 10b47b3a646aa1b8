"""Pictures of fetal ultrasound with exact boxes: speckle, shadows behind bone, dimmer with depth.

    <folder>/images/E03_0012.png                 number 12, of examination E03; 8-bit grey
    <folder>/annotations/instances.json          COCO: head, abdomen, arms, legs; a box for each limb

Each picture follows from its number and the seed alone. Examinations differ in the probe's fan, resolution, gain and
dynamic range, and in the fetus's size. A part of which much lies beyond the fan or in a shadow is not there at all; the
box of another is that of its pixels in the fan. The speckle is physics (`speckle.py`), the anatomy is not (`fetus.py`).
No number measured on these pictures says anything about real ones.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from tasks.synthetic import fetus
from tasks.synthetic.fetus import PARTS, BodyPart, PartName, Tissue, View
from tasks.synthetic.sector import Sector, attenuated, loss_before
from tasks.synthetic.speckle import MEAN_DB, Floats, compress, scatter

SIDE_PX = (224, 289)
"""From and below."""
_LEAST_SEEN = 0.6
"""Of a part's pixels in the fan."""
_LEAST_SIDE_PX = 10
_SHADE_DB, _LEAST_LIT = 16.0, 0.5
"""What is weakened by more lies in a shadow; a part of which less is out of it is not there either."""

BoxPx = tuple[int, int, int, int]
"""x, y, width, height."""


@dataclass(frozen=True)
class SeenPart:
    """A body part in a picture.

    Attributes:
        label: Its class.
        box_px: The pixels of it in the fan, exactly.
    """

    label: PartName
    box_px: BoxPx


@dataclass(frozen=True)
class UltrasoundPicture:
    """A picture, and what it shows.

    Attributes:
        number: From 1.
        examination: 'E01', ...
        view: What the probe looks at.
        image: uint8 [h, w].
        parts: At least one.
    """

    number: int
    examination: str
    view: View
    image: NDArray[np.uint8]
    parts: tuple[SeenPart, ...]

    @property
    def file(self) -> str:
        """Its name below images/."""
        return f"{self.examination}_{self.number:04d}.png"


@dataclass(frozen=True)
class _Examination:
    """What the pictures of one examination have in common.

    Attributes:
        sector: Where the beams run.
        size_px: Half the length of the head where all of the body is in view.
        pulse_px: Standard deviations of the pulse, along a beam and across (in beams).
        gain_db: Above middle grey, of soft tissue near the probe.
        dynamic_range_db: Between black and white.
        loss_db_per_px: That depth takes, of what the scanner's compensation for it leaves.
        noise_db: Of the electronics, below soft tissue's amplitude.
    """

    sector: Sector
    size_px: float
    pulse_px: tuple[float, float]
    gain_db: float
    dynamic_range_db: float
    loss_db_per_px: float
    noise_db: float


def draw_picture(number: int, *, donors: int = 40, seed: int = 0) -> UltrasoundPicture:
    """Draw one picture of a data set; examinations take turns.

    Args:
        number: From 1.
        donors: How many examinations there are.
        seed: That all of it follows from.
    """
    drawn = _draw(number, donors, seed)
    inside = drawn.examination.sector.inside
    parts = tuple(SeenPart(part.label, _box(part, inside)) for part in drawn.seen)
    image = _scan(drawn.tissue, drawn.examination, drawn.rng)
    return UltrasoundPicture(number, f"E{drawn.which:02d}", drawn.view, image, parts)


def draw_pair(number: int, *, donors: int = 40, seed: int = 0) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """The image of `draw_picture`, and the same without speckle: levels of the mean decibels, uint8 [h, w] each."""
    drawn = _draw(number, donors, seed)
    return _scan(drawn.tissue, drawn.examination, drawn.rng), _scan_clean(drawn.tissue, drawn.examination)


@dataclass(frozen=True)
class _Drawn:
    """A scene, before it is scanned."""

    which: int
    examination: _Examination
    view: View
    seen: list[BodyPart]
    tissue: Tissue
    rng: np.random.Generator


def _draw(number: int, donors: int, seed: int) -> _Drawn:
    rng = np.random.default_rng([seed, 21, number])
    which = (number - 1) % donors + 1
    examination = _draw_examination(which, seed)
    inside = examination.sector.inside
    seen: list[BodyPart] = []
    while not seen:
        view = fetus.draw_view(rng)
        posed = fetus.pose(view, inside.shape, examination.size_px, rng)
        there = [part for part in posed if _is_inside(part, inside)]
        shade_db = _shade_db(_tissue(there, inside.shape, number, seed), examination)
        seen = [part for part in there if _is_lit(part, shade_db)]
    return _Drawn(which, examination, view, seen, _tissue(seen, inside.shape, number, seed), rng)


def write_pictures(
    folder: Path,
    *,
    count: int,
    donors: int = 40,
    seed: int = 0,
    first: int = 1,
    on_done: Callable[[int], None] = lambda done: None,
) -> list[UltrasoundPicture]:
    """Write a data set as pictures and a COCO file; the same arguments write the same bytes.

    Args:
        folder: Where to; made if absent.
        count: How many pictures.
        donors: How many examinations they come from.
        seed: That all of it follows from.
        first: Number of the first; to add more to a folder later. The COCO file then names the new ones only.
        on_done: Called with how many are written.
    """
    for name in ("images", "annotations"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    made = []
    for number in range(first, first + count):
        picture = draw_picture(number, donors=donors, seed=seed)
        (folder / "images" / picture.file).write_bytes(cv2.imencode(".png", picture.image)[1].tobytes())
        made.append(picture)
        on_done(len(made))
    (folder / "annotations" / "instances.json").write_text(json.dumps(_as_coco(made), indent=1) + "\n")
    return made


def _as_coco(pictures: list[UltrasoundPicture]) -> dict[str, object]:
    objects = [(picture.number, part) for picture in pictures for part in picture.parts]
    return {
        "images": [
            {"id": each.number, "file_name": f"images/{each.file}", "width": each.image.shape[1],
             "height": each.image.shape[0]}
            for each in pictures
        ],
        "annotations": [
            {"id": n, "image_id": number, "category_id": PARTS.index(part.label) + 1, "bbox": list(part.box_px),
             "area": part.box_px[2] * part.box_px[3], "iscrowd": 0}
            for n, (number, part) in enumerate(objects, 1)
        ],
        "categories": [{"id": n, "name": name, "supercategory": "fetus"} for n, name in enumerate(PARTS, 1)],
    }  # fmt: skip


def _draw_examination(number: int, seed: int) -> _Examination:
    rng = np.random.default_rng([seed, 22, number])
    uniform = rng.uniform
    height, width = (int(side) for side in rng.integers(*SIDE_PX, 2))
    return _Examination(
        sector=Sector(height, width, radius_px=uniform(60, 130), half_angle_rad=uniform(0.5, 0.68)),
        size_px=uniform(25, 33) * min(height, width) / 256,
        pulse_px=(uniform(0.7, 1.4), uniform(0.8, 1.8)),
        gain_db=uniform(0, 7),
        dynamic_range_db=uniform(50, 66),
        loss_db_per_px=uniform(0.01, 0.05),
        noise_db=uniform(34, 42),
    )


def _tissue(parts: Sequence[BodyPart], shape: tuple[int, ...], number: int, seed: int) -> Tissue:
    """A womb with these parts in it; its texture follows from the picture's number alone."""
    rng = np.random.default_rng([seed, 23, number])
    tissue = fetus.womb((shape[0], shape[1]), rng)
    for part in reversed(parts):  # limbs below, the head on top
        fetus.lay(part, tissue, rng)
    return tissue


def _is_inside(part: BodyPart, inside: NDArray[np.bool_]) -> bool:
    """Whether the fan holds most of a part."""
    there = int((fetus.covers(part, inside.shape) & inside).sum())
    return there >= _LEAST_SEEN * part.area_px and min(_box(part, inside)[2:]) >= _LEAST_SIDE_PX


def _is_lit(part: BodyPart, shade_db: Floats) -> bool:
    """Whether most of a part lies in no shadow."""
    own = fetus.covers(part, shade_db.shape)
    return bool(np.mean(shade_db[own] < _SHADE_DB) >= _LEAST_LIT)


def _box(part: BodyPart, inside: NDArray[np.bool_]) -> BoxPx:
    x, y, width, height = cv2.boundingRect((fetus.covers(part, inside.shape) & inside).astype(np.uint8))
    return int(x), int(y), int(width), int(height)


def _shade_db(tissue: Tissue, examination: _Examination) -> Floats:
    """What bone and tissue above it take from what each pixel sends back, [y, x]."""
    return examination.sector.gather(loss_before(examination.sector.spread(tissue.loss_db_per_px)))


def _scan(tissue: Tissue, examination: _Examination, rng: np.random.Generator) -> NDArray[np.uint8]:
    """What the scanner shows of it."""
    axial_px, lateral_px = examination.pulse_px
    amplitude = scatter(_power(tissue, examination), rng, axial_px=axial_px, lateral_px=lateral_px)
    noise = np.hypot(*rng.normal(0, 10 ** (-examination.noise_db / 20), (2, *amplitude.shape)))
    return _shown(np.asarray(np.hypot(amplitude, noise), np.float32), examination)


def _scan_clean(tissue: Tissue, examination: _Examination) -> NDArray[np.uint8]:
    """What the scanner would show as the mean of endless speckles: the mean of their decibels."""
    axial_px, lateral_px = (px / np.sqrt(2) for px in examination.pulse_px)  # the square of a Gaussian is narrower
    power = cv2.GaussianBlur(_power(tissue, examination), (0, 0), lateral_px, sigmaY=axial_px)
    power = power + 2 * 10 ** (-examination.noise_db / 10)
    return _shown(np.asarray(np.sqrt(power) * 10 ** (MEAN_DB / 20), np.float32), examination)


def _power(tissue: Tissue, examination: _Examination) -> Floats:
    """What comes back from each depth of each beam."""
    echo_db, loss_db = (examination.sector.spread(each) for each in (tissue.echo_db, tissue.loss_db_per_px))
    power = np.asarray(10 ** (echo_db / 10), np.float32)
    return attenuated(power, np.asarray(loss_db + examination.loss_db_per_px, np.float32))


def _shown(amplitude: Floats, examination: _Examination) -> NDArray[np.uint8]:
    grey = compress(amplitude, dynamic_range_db=examination.dynamic_range_db, gain_db=examination.gain_db)
    return np.asarray(np.rint(examination.sector.gather(grey) * 255), dtype=np.uint8)
