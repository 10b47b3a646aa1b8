"""Ultralytics, quiet, offline and harmless: nothing is downloaded, installed, reported or looked up, and no file of
weights or architecture can run anything (see `ultralytics_loading.py`); the CPU is used whole.

Import this before ultralytics, and call `prepare`, in every process that uses it.
"""

from __future__ import annotations

import os
import shutil
import stat
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

from tasks.training.ultralytics_loading import SWITCHES, harmless

INTEGRATIONS = (
    "sync",
    "clearml",
    "comet",
    "dvc",
    "mlflow",
    "raytune",
    "tensorboard",
    "wandb",
    "vscode_msg",
    "openvino_msg",
)


def prepare(config_dir: Path | None = None, threads: int | None = None) -> int:
    """Set ultralytics up in this process.

    Args:
        config_dir: Where ultralytics keeps its settings and font: one per installation. Default:
            `YOLO_CONFIG_DIR`, else
            a folder of this user in the system's temporary folder; if somebody else made that, a new one.
        threads: CPU threads for torch; default all that this process may run on.

    Returns:
        The number of threads.
    """
    named = config_dir or os.environ.get("YOLO_CONFIG_DIR")
    folder = Path(named) if named else _private_folder()
    threads = threads or len(os.sched_getaffinity(0))
    folder.mkdir(parents=True, exist_ok=True)
    os.environ["YOLO_OFFLINE"] = "1"
    os.environ.update(SWITCHES)  # ultralytics reads its own when it is imported
    os.environ["YOLO_AUTOINSTALL"] = "false"  # a missing package is an error, not a download
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # importing openvino would phone home
    os.environ["YOLO_CONFIG_DIR"] = str(folder)
    os.environ.setdefault("OMP_NUM_THREADS", str(threads))  # ultralytics would set it to 1
    os.environ.setdefault("MPLBACKEND", "Agg")
    _provide_font(folder)

    import torch
    from ultralytics.utils import SETTINGS, torch_utils

    # select_device() sets torch to min(8, CPUs - 1) threads, whatever the environment says: half of a two-core machine.
    torch_utils.NUM_THREADS = threads
    torch.set_num_threads(threads)
    harmless()
    if unwanted := {key: False for key in INTEGRATIONS if SETTINGS.get(key)}:
        SETTINGS.update(unwanted)
    return threads


def _private_folder() -> Path:
    """A folder in the system's temporary folder that only we can write to: the one of this user, else a new one.

    Its name can be guessed, and everybody may make it before us: with settings of theirs, or as a link.
    """
    folder = Path(tempfile.gettempdir()) / f"nightscope-yolo-{os.getuid()}"
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    found = folder.lstat()
    if stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o022:
        return folder
    return Path(tempfile.mkdtemp(prefix="nightscope-yolo-"))


def _provide_font(folder: Path) -> None:
    """Plots ask for Arial, and wait for the network where it is missing; matplotlib brings a font as good."""
    font = folder / "Arial.ttf"
    if font.exists():
        return
    from importlib.util import find_spec

    spec = find_spec("matplotlib")
    if spec and spec.origin:
        partial = folder / f".Arial.{os.getpid()}"
        shutil.copyfile(Path(spec.origin).parent / "mpl-data/fonts/ttf/DejaVuSans.ttf", partial)
        partial.replace(font)
