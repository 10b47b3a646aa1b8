"""What is looked at before a request is: its token, its size, and how long it takes to arrive."""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from typing import TYPE_CHECKING, Any

from starlette.exceptions import HTTPException

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

OPEN = frozenset({"/healthz"})
"""Addresses that answer without a token, for who watches over services."""

HEADERS = ((b"x-content-type-options", b"nosniff"), (b"cache-control", b"no-store"))

TOO_LARGE = "the upload is too large"
BUSY = "too many requests at once"
COME_AGAIN = "ask again in a moment"
_ENVELOPE_BYTES = 16_384
"""What a form adds to the picture in it."""


class Guard:
    """Lets requests through that bear the token, and stops bodies that are too large or too slow.

    Args:
        app: The application behind it.
        token: What a request must bear.
        max_bytes: Of the picture in a body.
        upload_s: In which a body must have arrived.
        most_requests: That may be under way, their bodies arriving or waited for; more are asked to come again.
    """

    def __init__(self, app: ASGIApp, *, token: str, max_bytes: int, upload_s: float, most_requests: int) -> None:
        self._app, self._token, self._upload_s = app, token.encode(), upload_s
        self._free = most_requests
        self._max_picture, self._max_body = max_bytes, max_bytes + _ENVELOPE_BYTES

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def careful(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *HEADERS]
            await send(message)

        headers = dict(scope["headers"])
        if scope["path"] not in OPEN and not self._is_known(headers.get(b"authorization", b"")):
            await _answer(careful, 401, "unauthorized", "the request bears no token, or another one",
                          (b"www-authenticate", b"Bearer"), expected="the header `Authorization: Bearer TOKEN`",
                          fix="ask who runs the service for its token")  # fmt: skip
            return
        stated = headers.get(b"content-length", b"")
        if stated.isdigit() and int(stated) > self._max_body:
            await _answer(careful, 413, "too_large", TOO_LARGE, (b"connection", b"close"),
                          **self.larger(int(stated)))  # fmt: skip
            return
        if scope["path"] in OPEN:  # takes no place
            await self._app(scope, self._counted(receive), careful)
            return
        if self._free <= 0:
            await _answer(careful, 503, "unavailable", BUSY, (b"retry-after", b"1"), fix=COME_AGAIN)
            return
        self._free -= 1
        try:
            await self._app(scope, self._counted(receive), careful)
        finally:
            self._free += 1

    def larger(self, found: int | None = None) -> dict[str, Any]:
        """What was expected instead of a body that is too large, and what to do."""
        return {
            "expected": f"a picture of at most {self._max_picture / 1e6:g} MB",
            "found": None if found is None else f"{found / 1e6:.1f} MB",
            "fix": "send a smaller one",
        }

    def _is_known(self, given: bytes) -> bool:
        scheme, _, token = given.partition(b" ")
        return scheme.lower() == b"bearer" and secrets.compare_digest(token.strip(), self._token)

    def _counted(self, receive: Receive) -> Receive:
        got, until, whole = 0, time.monotonic() + self._upload_s, False

        async def counted() -> Message:
            nonlocal got, whole
            if whole:  # what comes now is the client's leaving, for which there is no hurry
                return await receive()
            try:
                message = await asyncio.wait_for(receive(), max(0.0, until - time.monotonic()))
            except TimeoutError:
                raise refusal(408, "the upload took too long", expected=f"all of it within {self._upload_s:g} s",
                              fix="send a smaller picture, or come again") from None  # fmt: skip
            got += len(message.get("body", b""))
            whole = not message.get("more_body", False)
            if got > self._max_body:
                raise refusal(413, TOO_LARGE, **self.larger())
            return message

        return counted


def refusal(status: int, message: str, *, headers: dict[str, str] | None = None, **more: str | None) -> HTTPException:
    """An error for `error_body`, to be raised: `more` are expected, found and fix."""
    return HTTPException(status, {"message": message, **more}, headers)  # type: ignore[arg-type]


def error_body(code: str, message: str, **more: Any) -> dict[str, Any]:
    """An error as JSON: `{"error": {"code", "message", ...}}`; what is None is left out."""
    return {"error": {"code": code, "message": message, **{key: value for key, value in more.items() if value}}}


async def _answer(
    send: Send, status: int, code: str, message: str, header: tuple[bytes, bytes], **more: str | None
) -> None:
    data = json.dumps(error_body(code, message, **more)).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(data)).encode()), header]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": data})
