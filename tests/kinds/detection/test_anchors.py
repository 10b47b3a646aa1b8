"""The anchor analysis of the exploration report."""

from __future__ import annotations

from typing import Any

from tasks.config import HOME, load_line
from tasks.exploration.plots import curve_svg
from tasks.kinds.detection.anchors import FEWEST, anchor_sections, scaled_sizes, trained_side_px

LINE = load_line("fetal-ultrasound", HOME / "dags" / "lines")


def row(split: str, *boxes: tuple[str, float, float], side_px: int = 800) -> dict[str, Any]:
    objects = [{"label": name, "x_px": 1, "y_px": 2, "width_px": w, "height_px": h} for name, w, h in boxes]
    return {"split": split, "width_px": side_px, "height_px": side_px // 2, "objects": objects}


HEAD, ARM, LEG = ("head", 320.0, 240.0), ("arms", 25.0, 60.0), ("legs", 100.0, 100.0)


def test_three_sizes_bend_the_curve_at_three() -> None:
    train = [
        row(
            "train",
            *((name, width * (1 + n / 100), height * (1 - n / 100)) for name, width, height in (HEAD, ARM, LEG)),
        )
        for n in range(20)
    ]
    anchors, levels = anchor_sections([*train, *[row("test", LEG)] * 50], LINE)
    assert [each[0] for each in anchors.rows] == ["1", "2", "3 ←", *map(str, range(4, 10))]
    assert "no anchors" in anchors.note and "at 512 px" in anchors.note
    found = {each[0]: each[1:] for each in levels.rows}
    assert found["head"] == ("20", "0%", "0%", "0%", "100%"), "some 205 x 154 px"
    assert found["arms"] == ("20", "0%", "100%", "0%", "0%") and "abdomen" not in found
    assert found["all"][0] == "60", "the test split is not looked at"
    svg = curve_svg(anchors.curves[0])
    assert svg.count("<polyline") == 2 and "nan" not in svg


def test_boxes_are_measured_as_the_recipe_scales_them() -> None:
    rows = [row("train", HEAD), row("train", HEAD, side_px=1600)]
    assert trained_side_px(rows, LINE) == 512
    assert trained_side_px([row("train", HEAD, side_px=300)], LINE) == 320, "what is smaller is not blown up"
    stages = LINE.recipe.model_copy(update={"stages": [{"imgsz": 320}, {"imgsz": 960}]})
    assert trained_side_px(rows, LINE.model_copy(update={"recipe": stages})) == 960, "as the last stage does"
    assert scaled_sizes(rows, 400)[0].tolist() == [[160, 120], [80, 60]]
    assert scaled_sizes(rows, None)[0].tolist() == [[320, 240]] * 2


def test_crowds_and_flat_boxes_are_no_sizes_and_few_boxes_are_no_clusters() -> None:
    crowd = row("train", HEAD)
    crowd["objects"][0]["crowd"] = True
    assert scaled_sizes([crowd, row("train", ("arms", 0, 3))], 400)[1] == []
    assert anchor_sections([row("train", *[HEAD] * (FEWEST - 1))], LINE) == []
    same, _ = anchor_sections([row("train", *[HEAD] * FEWEST)], LINE)
    assert [each[0] for each in same.rows] == ["1 ←"]
    assert "nan" not in curve_svg(same.curves[0])
