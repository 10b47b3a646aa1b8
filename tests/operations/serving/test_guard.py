"""How many requests may be under way."""

from __future__ import annotations

import asyncio
from typing import Any

from tasks.operations.serving.guard import Guard


def test_who_watches_takes_no_place_of_the_requests() -> None:
    async def scene() -> list[int]:
        answered, go_on = [], asyncio.Event()

        async def app(scope: Any, receive: Any, send: Any) -> None:
            await go_on.wait()
            await send({"type": "http.response.start", "status": 200})

        async def send(message: Any) -> None:
            if message["type"] == "http.response.start":
                answered.append(message["status"])

        async def receive() -> Any:
            return {"type": "http.request"}

        guard = Guard(app, token="t", max_bytes=9, upload_s=9, most_requests=1)

        def ask(path: str) -> Any:
            scope = {"type": "http", "path": path, "headers": [(b"authorization", b"Bearer t")]}
            return asyncio.create_task(guard(scope, receive, send))

        under_way = [ask("/healthz"), ask("/v1/predict"), ask("/healthz"), ask("/v1/predict")]
        await under_way[-1]
        assert answered == [503]
        go_on.set()
        await asyncio.gather(*under_way)
        return sorted(answered)

    assert asyncio.run(scene()) == [200, 200, 200, 503]
