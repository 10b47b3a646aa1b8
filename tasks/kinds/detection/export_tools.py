"""What each export format needs to be made and checked here, and what is missing where it cannot be.

Nothing is downloaded or installed by an export: a package that is not there is named, with the extra that brings it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal, get_args

from tasks.errors import ConfigError
from tasks.kind.exports import Precision

Format = Literal["onnx", "torchscript", "openvino", "ncnn", "paddle"]
_FORMATS: tuple[Format, ...] = get_args(Format)
_GPU_DRIVER = Path("/proc/driver/nvidia/version")


@dataclass(frozen=True)
class Tool:
    """What makes and runs a format.

    Attributes:
        precisions: That ultralytics can write.
        dynamic: Whether one file takes images of any shape; else of the shape that it was made with.
        packages: Requirements beyond Nightscope's own, as pip writes them; the first is the runtime.
        extra: Nightscope's extra that brings them.
    """

    precisions: tuple[Precision, ...]
    dynamic: bool = True
    packages: tuple[str, ...] = ()
    extra: str = ""


TOOLS: dict[Format, Tool] = {
    "onnx": Tool(("fp32", "fp16", "int8")),
    "torchscript": Tool(("fp32",)),
    "openvino": Tool(("fp32", "fp16", "int8")),
    # pnnx from 20260704 on writes files on which ncnn crashes: https://github.com/pnnx/pnnx/issues/293
    "ncnn": Tool(("fp32", "fp16"), False, ("ncnn>=1.0.20260114", "pnnx==20260526"), "export-ncnn"),
    # From 3.3 on: https://github.com/PaddlePaddle/Paddle/issues/77340
    "paddle": Tool(("fp32",), False, ("paddlepaddle>=3.0,<3.3", "x2paddle>=1.6"), "export-paddle"),
}


def check_supported(fmt: str, precision: Precision) -> Format:
    """The format, if models can be exported to it here.

    Raises:
        ConfigError: There is no such format, it cannot be made or checked here, it does not come in that precision, or
            a package is missing; all that is missing is named at once.
    """
    if why := _REFUSED.get(fmt):
        raise why(fmt)
    for known in _FORMATS:
        if fmt == known:
            _refuse_precision(known, precision)
            require(known)
            return known
    raise ConfigError(f"export to {fmt!r}: no such format", expected=f"one of: {', '.join(_FORMATS)}")


def require(fmt: Format, *, to_run: bool = False) -> None:
    """See that a format's packages are installed; `to_run`: only the one that runs it.

    Raises:
        ConfigError: One is missing, or of another version.
    """
    tool = TOOLS[fmt]
    wanted = tool.packages[:1] if to_run else tool.packages
    if lacking := missing(wanted):
        raise ConfigError(
            f"{'running' if to_run else 'export to'} {fmt}: a package is missing",
            expected=", ".join(wanted), found="; ".join(lacking),
            fix=f"uv sync --frozen --inexact --extra {tool.extra} (or: pip install {' '.join(map(repr, wanted))})",
        )  # fmt: skip


def missing(packages: tuple[str, ...]) -> list[str]:
    """What is wrong with the installed packages, one entry each; empty: nothing."""
    from packaging.requirements import Requirement

    found = []
    for each in map(Requirement, packages):
        try:
            have = version(each.name)
        except PackageNotFoundError:
            found.append(f"{each.name} is not installed")
            continue
        if not each.specifier.contains(have, prereleases=True):
            found.append(f"{each.name} {have}")
    return found


def _refuse_precision(fmt: Format, precision: Precision) -> None:
    if precision in TOOLS[fmt].precisions:
        return
    able = [known for known, tool in TOOLS.items() if precision in tool.precisions]
    raise ConfigError(
        f"export to {fmt} in {precision}: {fmt} has no {precision}",
        expected=f"{' or '.join(able)} with --{precision}, or {fmt} without",
    )


def _litert(fmt: str) -> ConfigError:
    return ConfigError(
        f"export to {fmt}: litert-torch cannot be installed beside Nightscope",
        expected="litert-torch >= 0.10, which wants torch < 2.15 and typing-extensions < 4.13",
        found=f"torch {version('torch')}, typing-extensions {version('typing-extensions')}, which Airflow needs",
        fix="export to onnx or torchscript here, and convert that in an environment of its own; compare the two there",
    )


def _tensorrt(fmt: str) -> ConfigError:
    found = [] if _GPU_DRIVER.exists() else ["no NVIDIA GPU"]
    return ConfigError(
        f"export to {fmt}: a TensorRT engine runs only on the model of GPU, and under the version, that built it",
        expected="a check against the original on that GPU, which an export, checked on the CPU, does not have",
        found="; ".join([*found, *missing(("tensorrt",))]) or "a GPU and tensorrt; but nobody has tried the two here",
        fix="export to onnx, which is checked, and build from it where it will run: trtexec --onnx=model.onnx",
    )


def _coreml(fmt: str) -> ConfigError:
    return ConfigError(
        f"export to {fmt}: only macOS runs a Core ML model, so that it cannot be compared with the original here",
        expected="an export that is checked before it is attached",
        found="; ".join(["Linux", *missing(("coremltools",))]),
        fix="export to torchscript, which is checked; convert that on a Mac with coremltools, and compare there",
    )


_REFUSED: dict[str, Callable[[str], ConfigError]] = {
    "litert": _litert, "tflite": _litert, "tensorrt": _tensorrt, "engine": _tensorrt, "coreml": _coreml,
}  # fmt: skip
REFUSED = tuple(_REFUSED)
