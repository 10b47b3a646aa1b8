"""Train a denoiser, measure it, and file it as a version that recipes can name."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tasks.errors import ConfigError
from tasks.escaping import short_repr
from tasks.lake import Lake
from tasks.lake.denoisers import (
    NAME_ALONE,
    DenoiserVersion,
    file_denoiser,
    list_denoisers,
    read_denoiser,
    same_denoiser,
)
from tasks.operations.who import os_user
from tasks.provenance import ROOT, git_commit, git_dirty, library_versions, lock_sha256, meaning_of
from tasks.schemas import digest, now
from tasks.session import Session

if TYPE_CHECKING:
    from tasks.denoising.pairs import Pair
    from tasks.denoising.train import DenoisingPlan

log = logging.getLogger(__name__)

LEARN, TUNE, TEST = 40, 4, 16
"""Pictures to learn from, to choose the filters' strengths on, and to measure all on."""
_LIBRARIES = ("torch", "numpy", "safetensors", "scikit-image", "opencv-python-headless", "nightscope")
_SAY_EVERY_S = 20.0


class TrainedDenoiser(DenoiserVersion):
    """A version, and whether it was there before."""

    found: bool
    """It was trained before, in the same way: nothing was done."""


def train_denoiser(
    session: Session, name: str, *, plan: dict[str, Any] | None = None, pictures: int = LEARN
) -> TrainedDenoiser:
    """Train a denoiser on synthetic ultrasound, measure it beside the classical filters, and file it.

    The same again is found, and not trained. Killed on the way, it begins anew: it takes two minutes.

    Args:
        session: Whose lake.
        name: Of the denoiser; its versions are counted.
        plan: Values of `DenoisingPlan`, the seed among them.
        pictures: To learn from.

    Raises:
        ConfigError: A bad name or value, all of them at once.
    """
    lake = session.lake
    made = _checked_plan(name, plan or {}, pictures)
    data = _pictures(made.seed, pictures)
    key = digest("denoiser", made.model_dump(mode="json"), data, _code(), library_versions(_LIBRARIES))
    known = same_denoiser(lake, name, key)
    if known:
        log.info("denoiser %s was trained like this before", known.called)
    version = known or _train(lake, name, made, data, key)
    return TrainedDenoiser(found=known is not None, **version.model_dump())


def describe_denoiser(session: Session, called: str) -> DenoiserVersion:
    """Read a version's record, such as that of 'speckle/1'.

    Raises:
        NotFound: There is no such version.
    """
    return read_denoiser(session.lake, called)


def list_denoiser_versions(session: Session, name: str | None = None) -> list[DenoiserVersion]:
    """List all versions, or those of a name."""
    return list_denoisers(session.lake, name)


def _checked_plan(name: str, values: dict[str, Any], pictures: int) -> DenoisingPlan:
    from pydantic import ValidationError

    from tasks.denoising.train import DenoisingPlan

    faults, plan = [], None
    if not NAME_ALONE.fullmatch(name):
        faults.append(f"name: expected small letters, digits and -, found {short_repr(name)}")
    if not 1 <= pictures <= 10_000:
        faults.append(f"pictures: expected 1 to 10000, found {pictures}")
    known = DenoisingPlan.model_fields
    faults += [f"{key}: no such value" for key in values if key not in known]
    try:
        plan = DenoisingPlan(**{key: value for key, value in values.items() if key in known})
    except ValidationError as error:
        faults += [f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors()]
    if faults or plan is None:
        raise ConfigError(
            f"denoiser {short_repr(name)}: {'; '.join(faults)}", fix=f"what can be set: {', '.join(sorted(known))}"
        )
    return plan


def _pictures(seed: int, learn: int) -> dict[str, Any]:
    """Which pictures are drawn: of three seeds, so that none stands in two of them."""
    seeds = {"learned_from": 3 * seed + 1, "strengths_from": 3 * seed + 2, "measured_on": 3 * seed + 3}
    counts = {"learned_from": learn, "strengths_from": TUNE, "measured_on": TEST}
    return {
        part: {"drawn_by": "tasks/synthetic/ultrasound.py", "seed": seeds[part], "count": counts[part]}
        for part in seeds
    }


def _code() -> list[str]:
    """What the code means that draws the pictures, and that learns from them."""
    own = [ROOT / "denoising" / f"{name}.py" for name in ("pairs", "speckle_unet", "train")]
    drawing = sorted((ROOT / "synthetic").glob("*.py"))
    return [meaning_of(path) for path in (*own, *drawing)]


def _train(lake: Lake, name: str, plan: DenoisingPlan, data: dict[str, Any], key: str) -> DenoiserVersion:
    from tasks.denoising.comparison import compare_filters, measure_network
    from tasks.denoising.denoise import Denoiser
    from tasks.denoising.filters import classical_filters
    from tasks.denoising.pairs import phantom_pairs
    from tasks.denoising.speckle_unet import written
    from tasks.denoising.train import train_denoiser as train
    from tasks.evaluation.predict import hardware

    learn, tune, test = (list(phantom_pairs(part["count"], seed=part["seed"])) for part in data.values())
    log.info("denoiser %s: %d pictures to learn from, %d steps", name, len(learn), plan.steps)
    began = time.monotonic()
    network = train(learn, plan, on_step=_Progress(plan.steps))
    seconds = time.monotonic() - began
    weights = written(network, plan.spec)
    log.info("denoiser %s: measuring it beside the classical filters", name)
    rows = [*compare_filters(classical_filters(), tune, test), measure_network(Denoiser(network), test)]
    drawn = {
        part: {**said, "sha256": _hash(pairs)}
        for (part, said), pairs in zip(data.items(), (learn, tune, test), strict=True)
    }
    trained = DenoiserVersion(
        name=name, version=1, weights_oid=lake.blobs.put_bytes(weights), size_bytes=len(weights), key=key,
        plan=plan.model_dump(mode="json"), pictures=drawn, quality=tuple(row.model_dump() for row in rows),
        seconds=round(seconds, 1), by=os_user(), at=now().isoformat(), git_commit=git_commit(), git_dirty=git_dirty(),
        lock_sha256=lock_sha256(), libraries=library_versions(_LIBRARIES), hardware=hardware("cpu"),
    )  # fmt: skip
    return file_denoiser(lake, trained)


def _hash(pairs: Sequence[Pair]) -> str:
    """Of all pixels, so that a record says which pictures they were, whatever drew them."""
    made = hashlib.sha256()
    for pair in pairs:
        for image in (pair.speckled, pair.clean):
            made.update(repr(image.shape).encode() + image.tobytes())
    return made.hexdigest()


class _Progress:
    """Says every few seconds how far a training is."""

    def __init__(self, steps: int) -> None:
        self._steps, self._said = steps, time.monotonic()

    def __call__(self, step: int, loss: float) -> None:
        if time.monotonic() - self._said > _SAY_EVERY_S:
            self._said = time.monotonic()
            log.info("step %d of %d, loss %.5f", step, self._steps, loss)
