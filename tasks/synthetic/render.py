"""From a scene to grey frames. Only what moves is drawn; what stays (light, noise, sprites) is made once."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from tasks.synthetic.motion import Floats
from tasks.synthetic.scene import Body, Scene
from tasks.synthetic.sprites import SCALE, SHIFT, Image, Sprite, defocus_px, draw_sprite

FOCUS_LEVELS = (0.3, 0.9, 1.6)
"""Depths at which tails are blurred: a frame-wide blur each, instead of one per tail."""
TAIL_PARTS = ((0, 4, 2, 0.5), (3, 9, 1, 0.5), (8, 16, 1, 0.34), (15, 24, 1, 0.18))
"""First and last point, thickness in px, and share of the head's contrast: a tail fades towards its tip."""
TAIL_GREY = 160.0
NOISE_TILES = 4
NOISE_SHIFT_PX = 48


class Renderer:
    """Draws any frame of a scene, in any order: the same frame always has the same pixels.

    Args:
        scene: What to draw.
    """

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        spec = scene.spec
        rng = np.random.default_rng([scene.seed, 2])
        self._size = (spec.height_px, spec.width_px)
        self._light = _illumination(scene, rng)
        self._slide = _slide(scene, rng)
        self._bodies = [(body, draw_sprite(body, spec.look)) for body in scene.bodies]
        self._tails = [_Tail(body, body.tail_px) for body in scene.bodies if body.tail_px is not None]
        tile = (self._size[0] + NOISE_SHIFT_PX, self._size[1] + NOISE_SHIFT_PX)
        noise = rng.standard_normal((NOISE_TILES, *tile), dtype=np.float32)
        self._noise = noise * np.float32(spec.look.noise)
        n = len(spec.times_s)
        self._noise_at = np.column_stack([rng.integers(NOISE_TILES, size=n), rng.integers(NOISE_SHIFT_PX, size=(n, 2))])
        self._gain = 1 + spec.look.flicker * rng.standard_normal(n)
        self._canvas = np.empty(self._size, np.float32)
        self._mask = np.empty(self._size, np.uint8)

    def __len__(self) -> int:
        return len(self._scene.spec.times_s)

    def frame(self, index: int) -> NDArray[np.uint8]:
        """Frame `index` as grey levels, [height, width] uint8 of full range (0-255)."""
        canvas = self._canvas
        self._draw_slide(canvas, index)
        self._draw_tails(canvas, index)
        for body, sprite in self._bodies:
            _place(canvas, sprite, body, index)
        tile, top, left = self._noise_at[index]
        noise = self._noise[tile, top : top + self._size[0], left : left + self._size[1]]
        return np.asarray(cv2.scaleAdd(canvas, float(self._gain[index]), noise).clip(0, 255) + 0.5).astype(np.uint8)

    def _draw_slide(self, canvas: Image, index: int) -> None:
        x, y = self._scene.drift_px[index]
        move = np.array([[1, 0, -x], [0, 1, -y]])
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        cv2.warpAffine(self._slide, move, self._size[::-1], dst=canvas, flags=flags, borderMode=cv2.BORDER_WRAP)
        cv2.add(canvas, self._light, dst=canvas)

    def _draw_tails(self, canvas: Image, index: int) -> None:
        look = self._scene.spec.look
        scale = look.contrast / TAIL_GREY
        for level, depth in enumerate(FOCUS_LEVELS):
            tails = [tail for tail in self._tails if tail.level == level]
            if not tails:
                continue
            self._mask.fill(0)
            for tail in tails:
                tail.draw(self._mask, index)
            blurred = cv2.GaussianBlur(self._mask, (0, 0), defocus_px(depth, look))
            # The line itself darkens, and what surrounds it brightens a little: the fringe of phase contrast.
            fringe = cv2.blur(blurred, (7, 7))
            canvas -= cv2.addWeighted(blurred, scale, fringe, -0.9 * scale, 0, dtype=cv2.CV_32F)


class _Tail:
    """A tail's polylines in every frame, as cv2 wants them."""

    def __init__(self, body: Body, tail_px: Floats) -> None:
        cos, sin = np.cos(body.angle_rad)[:, None], np.sin(body.angle_rad)[:, None]
        x, y = tail_px[..., 0], tail_px[..., 1]
        points = np.stack([x * cos - y * sin, x * sin + y * cos], axis=-1) + body.centre_px[:, None]
        self._points = np.rint((points - 0.5) * 2**SHIFT).astype(np.int32)
        self._bounds = np.concatenate([points.min(axis=1), points.max(axis=1)], axis=1)
        self.level = int(np.argmin([abs(abs(body.depth) - level) for level in FOCUS_LEVELS]))
        self._grey = TAIL_GREY * body.darkness

    def draw(self, mask: NDArray[np.uint8], index: int) -> None:
        x0, y0, x1, y1 = self._bounds[index]
        if x1 < 0 or y1 < 0 or x0 > mask.shape[1] or y0 > mask.shape[0]:
            return
        for first, last, thickness, share in TAIL_PARTS:
            line = self._points[index, first:last]
            cv2.polylines(mask, [line], False, self._grey * share, thickness, cv2.LINE_AA, SHIFT)


def _place(canvas: Image, sprite: Sprite, body: Body, index: int) -> None:
    """Add a sprite, turned and squeezed, to where its body is; only the pixels that it reaches are touched."""
    x, y = body.centre_px[index]
    height, width = canvas.shape
    left, top = max(0, int(x - sprite.reach_px)), max(0, int(y - sprite.reach_px))
    right, bottom = min(width, int(x + sprite.reach_px) + 1), min(height, int(y + sprite.reach_px) + 1)
    if left >= right or top >= bottom:
        return
    turn = _into_sprite(sprite, body.angle_rad[index], body.breadth[index], x - left, y - top)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    canvas[top:bottom, left:right] += cv2.warpAffine(sprite.pixels, turn, (right - left, bottom - top), flags=flags)


def _into_sprite(sprite: Sprite, angle: float, breadth: float, x: float, y: float) -> NDArray[np.float64]:
    """The affine map from a patch's pixel indices to the sprite's, for a body centred at (x, y) of the patch."""
    cos, sin = np.cos(angle) * SCALE, np.sin(angle) * SCALE
    linear = np.array([[cos, sin], [-sin / breadth, cos / breadth]])
    offset = linear @ np.array([0.5 - x, 0.5 - y]) + sprite.pixels.shape[0] / 2 - 0.5
    return np.column_stack([linear, offset])


def _illumination(scene: Scene, rng: np.random.Generator) -> Image:
    """What an empty chamber looks like: it belongs to the camera and does not drift."""
    look, (height, width) = scene.spec.look, (scene.spec.height_px, scene.spec.width_px)
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    vignette = 1 - look.vignette * ((x - 0.1) ** 2 + (y + 0.05) ** 2) / 2
    mottle = cv2.resize(rng.standard_normal((7, 9)), (width, height), interpolation=cv2.INTER_CUBIC) * look.mottle
    return np.asarray(look.level * vignette + (look.gradient[0] * x + look.gradient[1] * y) / 2 + mottle, np.float32)


def _slide(scene: Scene, rng: np.random.Generator) -> Image:
    """Specks too small to be labelled and far out of focus clouds, on the sample: they drift with it."""
    look = scene.spec.look
    width, height = (int(np.ceil(side)) for side in scene.world_px)
    slide = np.zeros((height, width), np.float32)
    crowding = width * height / (scene.spec.width_px * scene.spec.height_px)
    for sharpness, count in ((0.0, look.specks * 0.75), (1.2, look.specks * 0.25)):
        layer = np.zeros((height, width), np.float32)
        for x, y in rng.uniform(0, 1, (round(count * crowding), 2)) * (width, height):
            grey = -look.contrast * rng.uniform(0.25, 0.7)
            radius = rng.uniform(0.25, 0.75) / scene.spec.um_per_px
            centre = (round(x * 2**SHIFT), round(y * 2**SHIFT))
            cv2.circle(layer, centre, round(radius * 2**SHIFT), grey, -1, cv2.LINE_8, SHIFT)
        slide += cv2.GaussianBlur(layer, (0, 0), float(np.hypot(look.blur_px, sharpness)))
    return slide + _clouds(scene, rng, (height, width))


def _clouds(scene: Scene, rng: np.random.Generator, size: tuple[int, int]) -> Image:
    """Faint rings of what swims far above or below the focal plane."""
    clouds = np.zeros(size, np.float32)
    for x, y in rng.uniform(0, 1, (max(3, size[0] * size[1] // 30000), 2)) * size[::-1]:
        radius, grey = rng.uniform(2.5, 6.0) / scene.spec.um_per_px, rng.uniform(2, 6)
        centre = (round(x), round(y))
        cv2.circle(clouds, centre, round(radius), grey, 3, cv2.LINE_AA)
        cv2.circle(clouds, centre, round(0.6 * radius), -grey, -1, cv2.LINE_AA)
    return np.asarray(cv2.GaussianBlur(clouds, (0, 0), 1.2 / scene.spec.um_per_px), np.float32)
