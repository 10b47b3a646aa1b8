"""`nightscope tensorboard`: the curves of a line's trainings, live."""

from __future__ import annotations

from typing import Annotated

import typer

from tasks.cli.output import Line
from tasks.session import open_session


def tensorboard(
    line: Line, port: Annotated[int, typer.Option(min=0, max=65535, help="0: any that is free.")] = 6006
) -> None:
    """Show LINE's trainings in TensorBoard on 127.0.0.1, live: losses, learning rate, gradient norm, speed, GPU.

    Of folds, trials and learning curves, too. Whoever is on this machine can look; Ctrl-C ends it.
    """
    from tasks.operations.tensorboard import show_trainings

    with open_session() as session:
        show_trainings(session, line, port)
