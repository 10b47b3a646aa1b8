"""Every picture that a training files is known as one that shows frames."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from tasks.kinds.detection.review import _kept_files
from tasks.registry.erasing import SHOWS_FRAMES


@pytest.mark.parametrize("has_val", [True, False])
def test_pictures_of_a_training_are_known_by_the_names_they_are_filed_under(tmp_path: Path, has_val: bool) -> None:
    look = tmp_path / "review"
    look.mkdir()
    made = ("samples_0.jpg", "samples_1.jpg", "confusion_matrix.png", "BoxPR_curve.png")
    for path in (
        *(look / name for name in made),
        *(tmp_path / name for name in ("train_batch0.jpg", "labels.jpg", "results.csv", "results.png")),
    ):
        path.write_bytes(b"x")
    kept = _kept_files(tmp_path, look, SimpleNamespace(has_val=has_val))  # type: ignore[arg-type]
    pictures = {name for name in kept if SHOWS_FRAMES.search(name)}
    assert len([name for name in pictures if "labels_beside_predictions" in name]) == 2
    assert set(kept) - pictures == {"training/results.csv"}
    assert not SHOWS_FRAMES.search("model/artifacts/weights.pt") and not SHOWS_FRAMES.search("model-card.md")
