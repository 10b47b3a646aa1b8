"""What we accept is what ultralytics accepts."""

from __future__ import annotations

from typing import Any

import pytest

from tasks.kinds.detection.recipe import ARCHITECTURES, find_architecture
from tasks.training.ultralytics_allowed import ALLOWED, MAY_BE_EMPTY, OPTIMIZERS, check_argument
from tasks.training.ultralytics_arguments import argument_defaults

VALUES: tuple[Any, ...] = (0, 1, 2, -1, 0.5, 1.5, 3.0, 640, "text", "0.25", "1e-3", [0.5, 1.5], [1, 2, 3], None)
WORDS: tuple[Any, ...] = (True, False, "bf16", "ram", "disk", "default", "model.22", [1, "2.cv1"], *OPTIMIZERS)


def test_what_is_allowed_are_arguments_of_ultralytics() -> None:
    from ultralytics import cfg

    assert argument_defaults() == cfg.DEFAULT_CFG_DICT
    assert argument_defaults().keys() >= ALLOWED.keys()


@pytest.mark.parametrize("key", sorted(ALLOWED))
def test_what_we_accept_ultralytics_accepts(key: str) -> None:
    from ultralytics.cfg import DEFAULT_CFG_DICT, check_cfg

    accepted = []
    for value in (*VALUES, *WORDS):
        try:
            accepted.append(check_argument(key, value))
        except ValueError as error:
            assert str(error).startswith("expected "), error
            assert ", found " in str(error)
    assert accepted, "there must be a good value"
    for value in accepted:
        check_cfg({**DEFAULT_CFG_DICT, key: False if value == "auto" and key == "amp" else value})


@pytest.mark.parametrize("key", sorted(ALLOWED.keys() - MAY_BE_EMPTY))
def test_the_default_of_ultralytics_is_allowed(key: str) -> None:
    check_argument(key, argument_defaults()[key])


STRANGE: tuple[Any, ...] = (
    float("nan"), float("inf"), float("-inf"), "nan", "inf", "1e400", ".inf", "1_0", " 1", "\u0661", 10**400,
    "9" * 5000, "a\x1b[2J", "a\nb", "../x", "/etc/passwd", "https://x/y.pt", "x" * 10_000, {"a": 1}, [[1]], object(),
)  # fmt: skip


@pytest.mark.parametrize("key", sorted(ALLOWED))
def test_strange_values_are_refused_with_what_was_expected(key: str) -> None:
    for value in STRANGE:
        with pytest.raises(ValueError, match=r"^expected .*, found ") as caught:
            check_argument(key, value)
        assert len(str(caught.value)) < 300
        assert str(caught.value).isprintable(), "a terminal would obey it"


@pytest.mark.parametrize("key", ["epochs", "imgsz", "batch", "lr0", "box", "fraction", "scale", "freeze", "time"])
@pytest.mark.parametrize("value", [True, False])
def test_true_is_no_number(key: str, value: bool) -> None:
    with pytest.raises(ValueError, match=f"found {value}"):
        check_argument(key, value)


@pytest.mark.parametrize("value", ["bf16", "fp32", True])
def test_precision(value: Any) -> None:
    assert check_argument("amp", value) == value
    with pytest.raises(ValueError, match="expected one of auto"):
        check_argument("amp", "int4")


def test_the_shipped_architecture_is_small_with_one_head_at_stride_8(tmp_path: Any) -> None:
    from tasks.training import ultralytics_offline as offline

    offline.prepare(tmp_path)
    from ultralytics.nn.tasks import DetectionModel

    model = DetectionModel(str(ARCHITECTURES / "p3-small.yaml"), nc=2, verbose=False)
    assert model.stride.tolist() == [8.0]
    assert 400_000 < sum(parameter.numel() for parameter in model.parameters()) < 500_000


@pytest.mark.parametrize("name", ["yolo11n.yaml", "yolo26n.yaml", "yolov8n-p2.yaml"])
def test_architectures_of_ultralytics_are_known_by_name(name: str) -> None:
    assert find_architecture(name) == name
    assert find_architecture("yolo99n.yaml") is None


@pytest.mark.parametrize(
    "name", [str(ARCHITECTURES / "p3-small.yaml"), "../architectures/p3-small.yaml", "", "p3-small"]
)
def test_an_architecture_is_named_and_never_a_path(name: str) -> None:
    assert find_architecture("p3-small.yaml") == ARCHITECTURES / "p3-small.yaml"
    assert find_architecture(name) is None
