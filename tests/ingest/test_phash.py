from __future__ import annotations

import cv2
import numpy as np

from tasks.ingest.phash import distance_bits, perceptual_hash
from tests.ingest.clips import numbered


def test_looks_alike_is_near_and_looks_different_is_far() -> None:
    image = cv2.GaussianBlur(numbered(5, 320, 240), (0, 0), 2)
    vignette = 1 - 0.3 * np.linspace(0, 1, 320)[None, :] ** 2
    variants = [
        np.clip(image * 1.2 + 10, 0, 255),
        image * vignette,
        cv2.imdecode(cv2.imencode(".jpg", image, [int(cv2.IMWRITE_JPEG_QUALITY), 60])[1], cv2.IMREAD_GRAYSCALE),
        cv2.resize(cv2.resize(image, (160, 120), interpolation=cv2.INTER_AREA), (320, 240)),
    ]
    for variant in variants:
        assert distance_bits(perceptual_hash(image), perceptual_hash(np.asarray(variant).astype(np.uint8))) <= 8
    others = [perceptual_hash(numbered(number, 320, 240)) for number in range(6, 26)]
    assert min(distance_bits(perceptual_hash(image), other) for other in others) >= 12


def test_grey_and_colour_agree_and_flat_pictures_have_a_hash() -> None:
    image = numbered(9)
    assert perceptual_hash(image) == perceptual_hash(cv2.cvtColor(image, cv2.COLOR_GRAY2BGR))
    assert 0 <= perceptual_hash(np.full((50, 60), 128, np.uint8)) < 2**64
    assert distance_bits(0, 2**64 - 1) == 64
