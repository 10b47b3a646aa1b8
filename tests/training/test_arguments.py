"""What we accept is what ultralytics accepts."""

from __future__ import annotations

from typing import Any

import pytest

from tasks.training.arguments import argument_rules, check_argument
from tasks.training.recipes import ARCHITECTURES, find_architecture

VALUES: tuple[Any, ...] = (0, 1, 2, -1, 0.5, 1.5, 3.0, "text", "0.25", [0.5, 1.5], [1, 2, 3], None)


def test_the_rules_are_ultralytics_own() -> None:
    from ultralytics import cfg

    rules = argument_rules()
    assert rules.defaults == cfg.DEFAULT_CFG_DICT
    assert rules.floats == cfg.CFG_FLOAT_KEYS
    assert rules.fractions == cfg.CFG_FRACTION_KEYS
    assert rules.integers == cfg.CFG_INT_KEYS
    assert rules.least == cfg.CFG_INT_MIN
    assert rules.booleans == cfg.CFG_BOOL_KEYS
    assert rules.strings == cfg.CFG_STR_KEYS


@pytest.mark.parametrize("key", sorted(argument_rules().defaults))
def test_what_we_accept_ultralytics_accepts(key: str) -> None:
    from ultralytics.cfg import DEFAULT_CFG_DICT, check_cfg

    accepted = []
    for value in (*VALUES, True, False, "bf16"):
        try:
            accepted.append(check_argument(key, value))
        except ValueError:
            continue
    for value in accepted:
        check_cfg({**DEFAULT_CFG_DICT, key: value})


@pytest.mark.parametrize("value", ["bf16", "fp32", True])
def test_precision(value: Any) -> None:
    assert check_argument("amp", value) == value
    with pytest.raises(ValueError, match="expected auto"):
        check_argument("amp", "int4")


def test_the_shipped_architecture_is_small_with_one_head_at_stride_8(tmp_path: Any) -> None:
    from tasks.training import offline

    offline.prepare(tmp_path)
    from ultralytics.nn.tasks import DetectionModel

    model = DetectionModel(str(ARCHITECTURES / "p3-small.yaml"), nc=2, verbose=False)
    assert model.stride.tolist() == [8.0]
    assert 400_000 < sum(parameter.numel() for parameter in model.parameters()) < 500_000


@pytest.mark.parametrize("name", ["yolo11n.yaml", "yolo26n.yaml", "yolov8n-p2.yaml"])
def test_architectures_of_ultralytics_are_known_by_name(name: str) -> None:
    assert find_architecture(name) == name
    assert find_architecture("yolo99n.yaml") is None
