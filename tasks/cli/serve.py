"""`nightscope serve`: the champion as a small HTTP service."""

from __future__ import annotations

from typing import Annotated

import typer

from tasks.cli.output import Line
from tasks.cli.predict import Device
from tasks.session import open_session


def serve(
    line: Line,
    host: Annotated[
        str, typer.Option(help="Where to listen. It is plain HTTP: put TLS before other machines.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any that is free.")] = 8070,
    device: Device = "cpu",
) -> None:
    """Answer with LINE's champion over HTTP: POST /predict, GET /version, /card, /healthz. A new champion takes over.

    Requests bear the token that lies in the state folder (serve/LINE.token). Ctrl-C ends it.
    """
    from tasks.operations.serving.run import serve as run

    with open_session() as session:
        run(session, line, host=host, port=port, device=None if device == "auto" else device)
