"""Train again what was trained before, to see whether the same run key gives the same model."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tasks.errors import NotFound
from tasks.kind import Kind
from tasks.kinds import kind_of
from tasks.lake import Lake
from tasks.promotion.in_charge import champion_now
from tasks.schemas import Frozen, Oid
from tasks.session import Session
from tasks.steps.train import materialise_and_train

if TYPE_CHECKING:
    from tasks.registry.models import ModelRecord
    from tasks.training.records import Trained
    from tasks.training.weights import WeightsComparison

log = logging.getLogger(__name__)


class Reproduction(Frozen):
    """A training and its repetition, compared."""

    line: str
    model_version: str
    dataset_version: str
    run_key: str
    same: bool
    """To the byte."""
    same_tensors: bool
    same_run_key: bool
    """Today's code and starting weights would give the recorded key."""
    weights_oid: Oid
    again_oid: Oid
    comparison: dict[str, Any] | None
    """None where the same; else the first tensor that differs, and by how much."""
    prevented_by: tuple[str, ...]
    """Operations without a deterministic implementation, in either training."""
    circumstances: tuple[dict[str, Any], ...]
    """What is not as it was: `what`, `then`, `now`."""
    resumed_from_epoch: int | None
    """Of the training on record."""
    seconds: float
    sentence: str


def reproduce(session: Session, name: str, version: str | None = None) -> Reproduction:
    """Train a model version's run key again, from nothing and in a place of its own, and compare the weights.

    Dataset version, recipe and seed are the recorded ones, whatever the line says today. Code, libraries and hardware
    are today's: where they are others than then, the result says so. The finished training's records are only read.

    Args:
        session: Whose lake and registry.
        name: The line.
        version: Of its model; default the champion.

    Raises:
        NotFound: No such version, no champion, or its training's record is gone.
        ConfigError: The weights that it started from are gone.
        StepFailed, StepKilled: The training failed.
    """
    from tasks.training.records import Trained, read, trained_key, vouched
    from tasks.training.train import train_again

    lake, line, registry = session.lake, session.line(name), session.registry
    record = registry.version(name, version) if version else champion_now(lake, registry, name)
    if record is None:
        raise NotFound(f"line {name} has no champion yet", fix="name a model version")
    record = vouched(lake, record)
    trained = read(lake, trained_key(record.about.run_key), Trained, unsigned=True)  # `vouched` has looked at it
    if trained is None:
        raise NotFound(f"line {name}: the record of training {record.about.run_key[:12]} is not in the lake")
    log.info(f"training {trained.run_key[:12]} again: {trained.epochs} epochs, {trained.steps} steps")
    kind = kind_of(line.kind)
    again = materialise_and_train(
        lake,
        line,
        kind,
        lake.datasets.load(name, trained.dataset_version),
        lambda data, has_val: train_again(lake, line, kind, trained, data, has_val, progress=log.info),
        kind.recipes.recorded(trained.recipe),
    )
    result = compared(lake, kind, record, trained, again)
    log.info(result.sentence)
    return result


def compared(lake: Lake, kind: Kind, record: ModelRecord, trained: Trained, again: Trained) -> Reproduction:
    """Compare a training with its repetition."""
    from tasks.training.identity import run_key_of

    oids = (record.weights_oid, again.weights_oid)
    same = oids[0] == oids[1]
    comparison = None
    if not same and kind.comparison:
        files = lake.blobs.fetch(oids[0]), lake.blobs.fetch(oids[1])
        comparison = kind.comparison.compare_weights(*files, oids)
    key = run_key_of(lake, trained.line, trained.dataset_version, kind.recipes.recorded(trained.recipe))
    result = {
        "line": record.line,
        "model_version": record.version,
        "dataset_version": trained.dataset_version,
        "run_key": trained.run_key,
        "same": same,
        "same_tensors": same or (comparison is not None and comparison.same_tensors),
        "same_run_key": key == trained.run_key,
        "weights_oid": oids[0],
        "again_oid": oids[1],
        "comparison": comparison.model_dump(mode="json") if comparison else None,
        "prevented_by": sorted({*trained.nondeterministic, *again.nondeterministic}),
        "circumstances": _circumstances(trained, again),
        "resumed_from_epoch": trained.resumed_from_epoch,
        "seconds": again.seconds,
    }
    return Reproduction(**result, sentence=_sentence(result, comparison))


def _circumstances(trained: Trained, again: Trained) -> list[dict[str, Any]]:
    """List what was not the same in both trainings."""
    then, now = (
        {
            "code version": one.code_version,
            "git commit": f"{one.git_commit or 'unknown'}{'-dirty' if one.git_dirty else ''}",
            **{f"library {name}": found for name, found in one.libraries.items()},
            **{f"hardware {name}": found for name, found in one.hardware.items()},
            "device": one.setup.get("device"),
        }
        for one in (trained, again)
    )
    names = dict.fromkeys((*then, *now))
    unlike = [what for what in names if then.get(what) != now.get(what)]
    return [{"what": what, "then": then.get(what), "now": now.get(what)} for what in unlike]


_DECIDING = ("code version", "library", "hardware", "device")


def _sentence(result: Mapping[str, Any], comparison: WeightsComparison | None) -> str:
    """Put into words what came out, and what explains it."""
    who = f"line {result['line']}, model version {result['model_version']}"
    if result["same"]:
        return f"{who}: trained again, the weights are the same to the byte"
    if comparison is None:
        return f"{who}: trained again, the weights are other bytes; where they differ, nobody can tell for this kind"
    if comparison.same_tensors:
        return f"{who}: trained again, every tensor is the same to the bit; only what stands beside them differs"
    text = f"{who}: trained again, {comparison.differing_tensors} of {comparison.tensors} tensors differ"
    if comparison.first and comparison.first.largest_difference is not None:
        text += f", the first is {comparison.first.name} (by {comparison.first.largest_difference:.3g} at most)"
    changed = [each["what"] for each in result["circumstances"] if each["what"].startswith(_DECIDING)]
    if result["prevented_by"]:
        return f"{text}; no deterministic implementation has {', '.join(result['prevented_by'])}"
    if changed:
        return f"{text}; not as it was then: {', '.join(changed)}"
    if not result["same_run_key"]:
        return f"{text}; the weights or the architecture that it starts from are not those of then"
    return f"{text}, and nothing on record explains it"
