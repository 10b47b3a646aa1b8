"""A dataset's frames as they come out of a denoiser, laid out beside the dataset's own layout.

    <root>/<version>-denoised-<oid>/data.yaml                         names the denoiser: `denoiser: <oid>`
    <root>/<version>-denoised-<oid>/images/{train,val}/<name>.png     hard links into a cache of denoised frames
    <root>/<version>-denoised-<oid>/labels/{train,val}/<name>.txt

Each frame goes through once, whatever learns from it and however many epochs: the cache is named by the denoiser, its
code and the frame's bytes. The files lose nothing, so that a training reads the very pixels that the finished detector
makes of the frame. The test split is left out: a training never reads it.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from tasks.datasets.on_disk import Files, laid_out, link
from tasks.kind import Recipe
from tasks.kind.images import read_image
from tasks.lake import Lake
from tasks.lake.blobs import hash_file
from tasks.provenance import ROOT, code_of, meaning_of
from tasks.schemas import Oid, digest
from tasks.training.starting import denoisers_weights
from tasks.whole_files import written_whole

if TYPE_CHECKING:
    from tasks.denoising.denoise import Denoiser

DENOISING = ROOT / "denoising" / "speckle_unet.py"
"""What a denoiser's weights are made into pixels by."""
_SPLITS = ("train", "val")
_IMAGES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".tif"})
"""Trainers keep decoded pictures of their own beside the images."""
_SAY_EVERY_S = 20.0

log = logging.getLogger(__name__)


def prepared(lake: Lake, data: Path, recipe: Recipe) -> Path:
    """The layout that a recipe's training reads: `data` itself, or the one beside it of denoised frames.

    Args:
        lake: Holds the denoiser, and knows where the cache is.
        data: Path of the dataset's `data.yaml`, as `layout.materialise` returned it.
        recipe: May name a denoiser.

    Raises:
        ConfigError, NotFound: The denoiser is not where the recipe says.
        DataError: It is none.
        IntegrityError: A frame cannot be decoded.
    """
    found = denoisers_weights(lake, recipe)
    if found is None:
        return data
    weights, oid = found
    made_by = digest(oid, meaning_of(DENOISING))
    folder = lake.settings.cache_dir / "denoised" / made_by[:32]
    return laid_out(
        lake, f"{data.parent.name}-denoised-{oid[:16]}", data.parent.parent, data.name,
        code_of("layout", "detection") + made_by,
        lambda part, place: write_denoised(data, weights, oid, folder, part, place),
    )  # fmt: skip


def write_denoised(data: Path, weights: Path, oid: Oid, cache: Path, part: Path, folder: Path) -> Files:
    """Write a layout of denoised frames.

    Args:
        data: `data.yaml` of the layout that it is made from.
        weights: The denoiser's file.
        oid: Its sha256.
        cache: Folder for denoised frames of this very denoiser.
        part: Where to write.
        folder: Where that will be in the end.

    Returns:
        How many files are in each folder.
    """
    from tasks.denoising.denoise import Denoiser

    denoiser, said_at, new = Denoiser.load(weights), time.monotonic(), 0
    pairs = list(_pairs(data.parent))
    for kind in ("images", "labels"):
        for split in _SPLITS:
            (part / kind / split).mkdir(parents=True)
    for done, (split, image, label) in enumerate(pairs):
        if time.monotonic() - said_at > _SAY_EVERY_S:
            said_at = time.monotonic()
            log.info("denoising: %d of %d frames", done, len(pairs))
        cached = cache / image_key(image)
        if not cached.is_file():
            new += 1
            _write(cached, denoiser, image)
        link(os.fspath(cached), f"{part}/images/{split}/{image.stem}.png")
        link(os.fspath(label), f"{part}/labels/{split}/{label.name}")
    log.info("denoised with %s: %d frames, %d of them for the first time", oid[:12], len(pairs), new)
    said = {**yaml.safe_load(data.read_text()), "path": str(folder), "denoiser": oid}
    said.pop("test", None)
    (part / data.name).write_text(yaml.safe_dump(said, sort_keys=False, allow_unicode=True))
    counts = {split: sum(1 for own, _, _ in pairs if own == split) for split in _SPLITS}
    return {f"{kind}/{split}": counts[split] for kind in ("images", "labels") for split in _SPLITS}


def image_key(image: Path) -> str:
    """Where a frame's denoised picture lies in its cache, by what its file holds."""
    key = hash_file(image)
    return f"{key[:2]}/{key}.png"


def _pairs(plain: Path) -> Iterator[tuple[str, Path, Path]]:
    """Split, image and label file of every frame that a training may read."""
    for split in _SPLITS:
        images = {path.stem: path for path in (plain / "images" / split).glob("*") if path.suffix in _IMAGES}
        for label in sorted((plain / "labels" / split).glob("*.txt")):
            yield split, images[label.stem], label


def _write(cached: Path, denoiser: Denoiser, image: Path) -> None:
    """Keep a frame as the denoiser leaves it, in one channel: whoever reads it in colour gets three that are equal."""
    import cv2

    clean = denoiser.denoise(read_image(image))
    _, coded = cv2.imencode(".png", clean[:, :, 0])
    with written_whole(cached) as part:
        part.write_bytes(coded.tobytes())
        part.chmod(0o444)
