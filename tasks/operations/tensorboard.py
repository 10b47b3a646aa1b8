"""TensorBoard over a line's trainings, on this machine alone."""

from __future__ import annotations

import logging
import os
import sys

from tasks.errors import ConfigError, NotFound
from tasks.session import Session
from tasks.stack.ports import HOST, is_free

log = logging.getLogger(__name__)

_RELOAD_S = 5


def show_trainings(session: Session, name: str, port: int) -> None:
    """Become TensorBoard, on the loopback interface: this process does not come back from it.

    It asks for no password: every user of this machine sees the curves, and nothing else.

    Args:
        session: Whose state folder.
        name: The line.
        port: 0: any that is free.

    Raises:
        ConfigError: No such line, tensorboard is not installed, or the port is taken.
        NotFound: None of the line's trainings left files.
    """
    from tasks.training.event_files import MISSING, folder_of, installed

    session.line(name)
    folder = folder_of(session.settings.state_dir.resolve(), name)
    if not installed():
        raise ConfigError(
            MISSING, expected="the package tensorboard in this environment", found="none",
            fix="install it (`pip install tensorboard`); the trainings after that show up. MLflow has all of it, too",
        )  # fmt: skip
    if not any(folder.glob("*/events.out.tfevents.*")):
        raise NotFound(
            f"line {name}: no training has left files for TensorBoard yet", expected=f"files below {folder}",
            fix=f"train: nightscope run {name}, or nightscope train {name}",
        )  # fmt: skip
    if port and not is_free(port):
        raise ConfigError(f"{HOST} port {port}: is taken", fix="name another with --port; 0 is any")
    command = [sys.executable, "-P", "-m", "tensorboard.main", "--logdir", str(folder), "--host", HOST, "--port",
               str(port), "--reload_interval", str(_RELOAD_S)]  # fmt: skip
    log.info(
        f"TensorBoard of line {name}: {len(list(folder.iterdir()))} trainings; its address follows; Ctrl-C ends it"
    )
    session.close()
    os.execv(command[0], command)  # signals reach it, and it cannot outlive us
