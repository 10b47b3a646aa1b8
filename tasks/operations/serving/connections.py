"""Connections that do not wait for ever: who opens one, or keeps one open, must send a request's head in time."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol


def impatient(patience_s: float) -> type[H11Protocol]:
    """Uvicorn's HTTP/1.1, closing connections over which no request begins within so many seconds.

    Uvicorn itself limits only the time between two requests, until the first byte: a client that sends a head a byte a
    minute holds a connection as long as it likes, and needs no token for it.
    """

    class Impatient(H11Protocol):
        _waiting: asyncio.TimerHandle | None = None

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self._wait()

        def on_response_complete(self) -> None:
            super().on_response_complete()
            self._wait()

        def connection_lost(self, exc: Exception | None) -> None:
            if self._waiting:
                self._waiting.cancel()
            super().connection_lost(exc)

        def _wait(self) -> None:
            if self._waiting:
                self._waiting.cancel()
            self._waiting = self.loop.call_later(patience_s, self._give_up)

        def _give_up(self) -> None:
            if self.cycle is None or self.cycle.response_complete:
                self.transport.close()

    return Impatient
