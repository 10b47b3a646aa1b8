"""Files of an export as their runtime wants them: where they lie, and computed in 32 bits on the CPUs that are ours.

By themselves runtimes take 16 bits where a CPU has them, and boxes move; and threads as they please.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from tasks.kinds.detection.export_tools import Format, require
from tasks.schemas import Oid

_FOLDERS: dict[str, Format] = {"model.xml": "openvino", "model.param": "ncnn", "model.pdiparams": "paddle"}
"""Which format several files are of, by the file that only it has. Ultralytics goes by the folder's name."""


def lay_out(files: Mapping[str, tuple[Path, Oid]], folder: Path) -> Path:
    """Link the files under their names.

    Returns:
        What ultralytics wants to be given: the file, or the folder of several.

    Raises:
        ConfigError: What runs them is not installed.
    """
    fmt = next((fmt for name, fmt in _FOLDERS.items() if name in files), None)
    if fmt:
        require(fmt, to_run=True)
    place = folder / f"export_{fmt}_model" if fmt else folder
    place.mkdir(exist_ok=True)
    for name, (path, _) in files.items():
        (place / name).symlink_to(path.resolve())
    return place if len(files) > 1 else place / next(iter(files))


def settle(loaded: Any, folder: Path) -> None:
    """Load a runtime's model once more, with settings that ultralytics does not hand on.

    Args:
        loaded: Ultralytics' `AutoBackend`, loaded.
        folder: Where `lay_out` put the files.
    """
    how = {"openvino": _openvino, "ncnn": _ncnn, "paddle": _paddle}.get(loaded.format)
    if how:
        how(loaded.backend, folder)


def _openvino(backend: Any, folder: Path) -> None:
    import openvino  # type: ignore[import-untyped]

    config = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
    core = openvino.Core()
    backend.compile_model = partial(core.compile_model, device_name="CPU", config=config)
    backend.ov_compiled_model = backend.compile_model(core.read_model(next(folder.rglob("*.xml"))))


def _ncnn(backend: Any, folder: Path) -> None:
    import torch

    net = backend.pyncnn.Net()
    net.opt.use_vulkan_compute = False
    net.opt.num_threads = torch.get_num_threads()
    for half in ("use_fp16_packed", "use_fp16_storage", "use_fp16_arithmetic", "use_bf16_storage"):
        setattr(net.opt, half, False)
    weights = next(folder.rglob("*.param"))
    net.load_param(str(weights))
    net.load_model(str(weights.with_suffix(".bin")))
    backend.net = net


def _paddle(backend: Any, folder: Path) -> None:
    import paddle.inference as paddle
    import torch

    weights = next(folder.rglob("*.pdiparams"))
    config = paddle.Config(str(weights.with_suffix(".json")), str(weights))
    config.set_cpu_math_library_num_threads(torch.get_num_threads())  # else one
    config.disable_glog_info()
    backend.predictor = paddle.create_predictor(config)
    backend.input_handle = backend.predictor.get_input_handle(backend.predictor.get_input_names()[0])
    backend.output_names = backend.predictor.get_output_names()
