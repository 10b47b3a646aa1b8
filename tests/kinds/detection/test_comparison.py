"""Weights are compared to the bit, and what differs is named."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tasks.kinds.detection.comparison import WeightsComparison, compare_weights
from tasks.lake.blobs import hash_file


def saved(folder: Path, model: torch.nn.Module, **beside: str) -> Path:
    """As a training leaves it. (The name counts: torch writes it into the file.)"""
    folder.mkdir()
    torch.save({"model": model, **beside}, folder / "weights.pt")
    return folder / "weights.pt"


def a_model() -> torch.nn.Module:
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.BatchNorm1d(3), torch.nn.Linear(3, 2)).half()


def compared(ours: Path, theirs: Path) -> WeightsComparison:
    return compare_weights(ours, theirs, (hash_file(ours), hash_file(theirs)))


def test_the_same_training_is_the_same_file(tmp_path: Path) -> None:
    found = compared(saved(tmp_path / "a", a_model()), saved(tmp_path / "b", a_model()))
    assert found.same_bytes and found.same_tensors and found.tensors == 9 and found.first is None


def test_files_may_differ_though_no_tensor_does(tmp_path: Path) -> None:
    found = compared(saved(tmp_path / "a", a_model(), on="monday"), saved(tmp_path / "b", a_model(), on="friday"))
    assert not found.same_bytes and found.same_tensors


def test_the_first_and_the_largest_difference_are_named(tmp_path: Path) -> None:
    other = a_model()
    with torch.no_grad():
        other[0].bias[1] += 0.001  # type: ignore[operator,index]
        other[2].weight[0, 0] += 1.0  # type: ignore[operator,index]
    found = compared(saved(tmp_path / "a", a_model()), saved(tmp_path / "b", other))
    assert not found.same_tensors and found.differing_tensors == 2
    assert found.first is not None and (found.first.name, found.first.differing, found.first.elements) == (
        "0.bias",
        1,
        3,
    )
    assert found.first.largest_difference == pytest.approx(0.001, rel=0.2)
    assert found.largest is not None and found.largest.name == "2.weight"


def test_minus_zero_is_a_difference_and_nan_is_none(tmp_path: Path) -> None:
    one, other = a_model(), a_model()
    with torch.no_grad():
        one[0].bias[:] = torch.tensor([0.0, float("nan"), 1.0])  # type: ignore[operator,index]
        other[0].bias[:] = torch.tensor([-0.0, float("nan"), 1.0])  # type: ignore[operator,index]
    found = compared(saved(tmp_path / "a", one), saved(tmp_path / "b", other))
    assert found.first is not None and (found.first.name, found.first.differing) == ("0.bias", 1)


def test_other_layers_are_said(tmp_path: Path) -> None:
    smaller = torch.nn.Sequential(torch.nn.Linear(4, 2)).half()
    found = compared(saved(tmp_path / "a", a_model()), saved(tmp_path / "b", smaller))
    assert "2.weight" in found.only_in_one
    assert found.first is not None and found.first.largest_difference is None, "shapes differ"
