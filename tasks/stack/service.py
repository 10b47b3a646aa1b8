"""What a service of the stack is, and where its program is found."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tasks.errors import StackError


@dataclass(frozen=True)
class Service:
    """One process under the process manager.

    Attributes:
        name: Its name in `status`, its log and its mark.
        unit: What it belongs to: s3, mlflow, label-studio or airflow.
        command: Program and arguments; nothing secret in them.
        environment: Added to the inherited environment; holds secrets, hence no repr.
        port: Where it listens on 127.0.0.1; None where it does not.
        health_path: Answers below 500 to a GET once it serves; None where `port` is.
        stop_s: How long it may take to end on SIGTERM before it is killed.
        waits_for: A port on 127.0.0.1 that must be listened on before it starts.
    """

    name: str
    unit: str
    command: tuple[str, ...]
    environment: Mapping[str, str] = field(repr=False)
    port: int | None = None
    health_path: str | None = None
    stop_s: int = 10
    waits_for: int | None = None

    @property
    def url(self) -> str | None:
        """Where it answers; None for the ones that do not listen."""
        return f"http://127.0.0.1:{self.port}" if self.port else None


def program(name: str) -> str:
    """The path of a program of our own environment: beside this Python, else on PATH.

    Raises:
        StackError: It is not installed.
    """
    found = shutil.which(name, path=str(Path(sys.executable).parent)) or shutil.which(name)
    if found is None:
        raise StackError(f"{name}: program not found beside {sys.executable}", fix="run 'make install'")
    return found
