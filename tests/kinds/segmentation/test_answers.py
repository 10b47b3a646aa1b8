"""What a person gets of a picture's cells."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from pycocotools import mask as coco

from tasks.kind import ModelRef
from tasks.kinds.segmentation.answers import columns, rows
from tests.kinds.segmentation.measured import a_line, instances, rectangle

OUTPUT = instances(
    (0, 0.4, (30, 30, 5, 5)), (0, 0.95, (2, 4, 10, 20)), (1, 0.8, (20, 5, 4, 4)), (2, 0.9, (0, 50, 5, 5))
)


def a_model(**options: object) -> ModelRef:
    return ModelRef(
        model_version="1", weights_oid="0" * 64, classes=("nucleus", "debris", "dust"), options={"predict": options}
    )


def test_cells_are_numbered_best_first_with_what_is_measured_of_them() -> None:
    line = a_line()
    found = rows(OUTPUT, a_model(), line, None)
    assert [(one["cell"], one["label"], one["score"]) for one in found] == [(1, "cell", 0.95), (2, "debris", 0.8)]
    assert all(tuple(one) == columns(line) for one in found)
    first = found[0]
    assert (first["x_px"], first["y_px"], first["width_px"], first["height_px"]) == (4, 2, 20, 10)
    assert (first["area_px"], first["centroid_x_px"], first["centroid_y_px"]) == (200, 13.5, 6.5)
    assert first["equivalent_diameter_px"] == pytest.approx(2 * math.sqrt(200 / math.pi), abs=0.01)
    assert np.array_equal(coco.decode(json.loads(first["mask_rle"])) > 0, rectangle(2, 4, 10, 20))


@pytest.mark.parametrize(
    ("min_score", "of_line", "of_model", "expected"),
    [
        (0.3, 0.9, 0.9, 3),
        (None, 0.9, 0.1, 1),
        (None, None, 0.1, 3),
        (None, None, None, 2),
        (None, None, 0.0, 2),
        (1.0, None, None, 0),
    ],
)
def test_the_asked_score_comes_before_the_lines_and_that_before_the_models(
    min_score: float | None, of_line: float | None, of_model: float | None, expected: int
) -> None:
    line = a_line(evaluation={"score_threshold": of_line})
    model = a_model() if of_model is None else a_model(min_score=of_model)
    assert len(rows(OUTPUT, model, line, min_score)) == expected


def test_a_model_whose_recipe_says_nothing_shows_what_its_training_chose() -> None:
    for chosen, expected in ((0.3, 3), (0.9, 1)):
        output = replace(OUTPUT, shown_from=chosen)
        assert len(rows(output, a_model(), a_line(), None)) == expected
        assert len(rows(output, a_model(min_score=0.85), a_line(), None)) == 1


def test_a_cell_without_a_pixel_is_no_row() -> None:
    assert rows(instances((0, 0.9, (0, 0, 0, 0))), a_model(), a_line(), None) == []
