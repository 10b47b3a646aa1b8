"""Ports on 127.0.0.1: the preferred one, else another free one, then remembered."""

from __future__ import annotations

import json
import random
import socket
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from tasks.errors import StackError
from tasks.private_files import write_private
from tasks.stack.layout import Layout

HOST = "127.0.0.1"
PREFERRED: Mapping[str, int] = {
    "s3": 9000, "s3-landing": 9001, "s3-mlflow": 9002, "s3-frames": 9003,
    "mlflow": 5500, "label-studio": 8081, "airflow": 8080,
}  # fmt: skip
_TRIES = 200
_LASTING = range(10_240, 32_768)
"""Below the ports that Linux lends to outgoing connections: until a service listens on its port, a minute may pass."""


@dataclass(frozen=True)
class Choice:
    """A service's port, and the one it would rather have had if that was taken."""

    port: int
    instead_of: int | None = None


def is_free(port: int) -> bool:
    """Whether nobody listens on `port` of 127.0.0.1 or of all interfaces."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a port in TIME_WAIT is free
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def remembered(layout: Layout) -> dict[str, int]:
    """Service -> port as last chosen; empty where nothing was, or the file is damaged (ports can be chosen again)."""
    try:
        found = json.loads(layout.ports_file.read_text())
        return {str(name): int(port) for name, port in found.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def remember(layout: Layout, ports: Mapping[str, int]) -> None:
    """Keep `ports` for the next start."""
    write_private(layout.ports_file, json.dumps(dict(ports), indent=1, sort_keys=True) + "\n")


def choose(
    names: list[str],
    kept: Mapping[str, int],
    *,
    preferred: Mapping[str, int] = PREFERRED,
    usable: Callable[[int], bool] = is_free,
) -> dict[str, Choice]:
    """A port for each of `names`: the kept one if usable, else the preferred one, else the next usable above it.

    Args:
        names: Services, keys of `preferred`.
        kept: Ports of the last start.
        preferred: Where to start looking; 0 = any that is free.
        usable: Whether a port may be taken (free, or already held by this very stack).

    Raises:
        StackError: No usable port within 200 of the preferred one.
    """
    chosen: dict[str, Choice] = {}
    for name in names:
        taken = {choice.port for choice in chosen.values()}
        wanted = preferred.get(name, PREFERRED.get(name, 0))
        if wanted == 0 and name not in kept:
            chosen[name] = Choice(any_port(taken))
            continue
        first = kept.get(name, wanted)
        start = wanted or first
        for port in (first, *range(start, min(start + _TRIES, 65536))):
            if port not in taken and usable(port):
                chosen[name] = Choice(port, None if port in (first, wanted) else first)
                break
        else:
            raise StackError(f"{name}: ports {start} to {start + _TRIES - 1} are all taken", fix="free one of them")
    return chosen


def any_port(taken: Collection[int] = ()) -> int:
    """A free port that no outgoing connection can take before somebody listens on it, and none of `taken`.

    Raises:
        StackError: There is none.
    """
    for port in random.SystemRandom().sample(_LASTING, _TRIES):
        if port not in taken and is_free(port):
            return port
    raise StackError(f"no free port found from {_LASTING.start} to {_LASTING.stop - 1}", fix="end what holds them")
