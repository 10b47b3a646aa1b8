"""What a person should see of labelled pictures: samples of each class, and labels that look wrong."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from tasks.config import Line
from tasks.exploration.appearance import frame_name
from tasks.exploration.suspects import Suspects, find_suspects
from tasks.kind import THUMBNAIL_PX, Row, Section, ShownFrame
from tasks.kinds.classification.objects import targets_of
from tasks.schemas import SPLITS, digest
from tasks.training.installed import INSTALLED, installed_file

if TYPE_CHECKING:
    from numpy.typing import NDArray

_WEIGHTS = "efficientnet-lite0"
_CLASSES = 1000
_BATCH = 32
_SAMPLES = 12
_SUSPECTS_SHOWN = 24


def features(thumbnails: NDArray[np.uint8]) -> NDArray[np.float32]:
    """What a frozen EfficientNet-Lite0, trained on ImageNet, makes of pictures: [n, 1280], its pooled last features.

    Without a graphics card it takes about 9 ms a picture on one core.
    """
    import torch

    from tasks.kinds.classification.inference import as_input, stacked

    network, known = _network(), INSTALLED[_WEIGHTS]
    scale = {"mean": [known.mean] * 3, "std": [known.std] * 3}
    parts = []
    with torch.inference_mode():
        for start in range(0, len(thumbnails), _BATCH):
            batch = [np.ascontiguousarray(thumbnail[:, :, ::-1]) for thumbnail in thumbnails[start : start + _BATCH]]
            parts.append(network.forward_features(as_input(stacked(batch), scale)).mean((2, 3)).numpy())
    return np.concatenate(parts)


@cache
def _network() -> Any:
    """The network with the weights that are installed with us, its last layer included: ImageNet's 1,000 classes."""
    from tasks.kinds.classification.loading import start_from
    from tasks.kinds.classification.networks import build_bare

    path, oid = installed_file(_WEIGHTS)
    model = INSTALLED[_WEIGHTS].model
    network = build_bare(model, _CLASSES, THUMBNAIL_PX)
    start_from(network, path, oid, model, _CLASSES)
    return network.eval()


def sections(rows: Sequence[Row], features: NDArray[np.float32], line: Line) -> list[Section]:
    """Samples, labels (of a multi-label line: present, absent, unknown), and what to look at again."""
    classes = tuple(line.classes)
    targets = np.array([targets_of(row["objects"], classes) for row in rows]).reshape(len(rows), len(classes))
    groups = [row["group"] for row in rows]
    found = [_samples(rows, targets, classes)]
    if not line.multi_label:
        labels = [classes[int(np.argmax(own))] if (own == 1).any() else None for own in targets]
        return [*found, _suspected(rows, {"": find_suspects(features, labels, groups)})]
    words = {1.0: "present", 0.0: "absent"}
    suspects = {
        name: find_suspects(features, [words.get(value) for value in targets[:, column].tolist()], groups)
        for column, name in enumerate(classes)
    }
    return [*found, _several(rows, targets, classes), _suspected(rows, suspects)]


def _samples(rows: Sequence[Row], targets: NDArray[np.float64], classes: Sequence[str]) -> Section:
    shown = []
    for column, name in enumerate(classes):
        own = sorted(np.flatnonzero(targets[:, column] == 1).tolist(), key=lambda i: digest(rows[i]["frame_oid"], name))
        shown += [
            ShownFrame(frame_oid=rows[place]["frame_oid"], caption=f"{name}: {frame_name(rows[place])}")
            for place in own[:_SAMPLES]
        ]
    return Section(
        title="Samples of each class", frames=tuple(shown), note="Chance picked them, and picks the same again."
    )


def _several(rows: Sequence[Row], targets: NDArray[np.float64], classes: Sequence[str]) -> Section:
    table = []
    for column, name in enumerate(classes):
        for split in SPLITS:
            own = targets[[row["split"] == split for row in rows], column]
            if len(own):
                counts = ((own == 1).sum(), (own == 0).sum(), np.isnan(own).sum())
                table.append((name, split, *(f"{int(count):,}" for count in counts)))
    return Section(
        title="Labels",
        note="Unknown: nobody said; such a label is neither learned from nor measured.",
        columns=("label", "split", "present", "absent", "unknown"),
        rows=tuple(table),
    )


def _suspected(rows: Sequence[Row], suspects: dict[str, Suspects]) -> Section:
    """What is worth a look, the least likely first."""
    found = [(name, one) for name, own in suspects.items() for one in own.found]
    found.sort(key=lambda one: one[1].p_given)
    table = [
        (
            name or "all",
            f"{own.looked_at:,}",
            "–" if own.accuracy is None else f"{own.accuracy:.1%}",
            f"{len(own.found):,}" if own.accuracy is not None else own.why_not,
        )
        for name, own in suspects.items()
    ]
    shown = [
        ShownFrame(
            frame_oid=rows[one.row]["frame_oid"],
            caption=f"{name + ' ' if name else ''}{one.given}, or {one.likely} ({one.p_likely:.0%})? "
            f"{frame_name(rows[one.row])}, {rows[one.row]['split']}",
            mark=True,
        )
        for name, one in found[:_SUSPECTS_SHOWN]
    ]
    return Section(
        title="Labels to look at again",
        note="A small model on the features of a frozen network, which has learned from other groups, finds these "
        "labels unlikely (confident learning, by cleanlab). It is weak: it names what is worth a look, and no label is "
        "changed or left out by it. Mend what is wrong in Label Studio; the next night takes it up.",
        columns=("label", "pictures", "the model's own accuracy", "to look at"),
        rows=tuple(table),
        frames=tuple(shown),
        to_check=len(found) if any(own.accuracy is not None for own in suspects.values()) else None,
    )
