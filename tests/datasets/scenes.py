"""Moving pictures for leak checks: blobs that swim over a background, as JPEG frames."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

Picture = npt.NDArray[np.uint8]


def background(seed: int, strength: float = 25) -> npt.NDArray[np.float32]:
    """Dirt and uneven light."""
    noise = np.random.default_rng(seed).normal(0, 1, (240, 320)).astype(np.float32)
    dirt = cv2.GaussianBlur(noise, (0, 0), 4)
    return np.asarray(128 + strength * dirt / dirt.std(), dtype=np.float32)


def clip(seed: int, count: int, behind: npt.NDArray[np.float32], cells: int = 25) -> list[Picture]:
    """Frames half a second apart of bright cells that swim."""
    rng = np.random.default_rng(seed)
    place, step = rng.uniform(0, 1, (cells, 2)) * (320, 240), rng.normal(0, 12, (cells, 2))
    frames = []
    for number in range(count):
        picture = behind.copy()
        for x, y in (place + number * step) % (320, 240):
            cv2.circle(picture, (int(x), int(y)), 6, 235.0, -1)
        frames.append(np.clip(cv2.GaussianBlur(picture, (0, 0), 1), 0, 255).astype(np.uint8))
    return frames


def jpeg(picture: Picture, quality: int = 90) -> bytes:
    return bytes(cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])[1])


def perceptual_hash(picture: Picture) -> str:
    """The usual 64 bits: the signs of the lowest frequencies about their median."""
    small = cv2.resize(picture, (32, 32), interpolation=cv2.INTER_AREA).astype(np.float32)
    low = cv2.dct(small)[:8, :8].ravel()
    bits = low > np.median(low[1:])
    return f"{int(''.join('1' if bit else '0' for bit in bits), 2):016x}"
