"""The report of a verdict, for whoever is signed in to Airflow: a plugin's pages are public unless they ask."""

from __future__ import annotations

import logging
import re
from collections.abc import Awaitable, Callable

from airflow.api_fastapi.core_api.security import get_user
from fastapi import Depends, FastAPI, Request
from fastapi.responses import HTMLResponse, PlainTextResponse, Response

from tasks.errors import NotFound, TransportError

HEADERS = {
    # A report is one file without scripts: whatever a label or a file name smuggled in stays text.
    "Content-Security-Policy": "default-src 'none'; img-src data:; style-src 'unsafe-inline'; font-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'self'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "SAMEORIGIN",
    "Cross-Origin-Resource-Policy": "same-origin",
    # Shown to who is signed in: a shared computer must not show it once they are gone.
    "Cache-Control": "no-store",
}

log = logging.getLogger(__name__)
app = FastAPI(title="Nightscope", dependencies=[Depends(get_user)], docs_url=None, redoc_url=None, openapi_url=None)


@app.middleware("http")
async def guarded(request: Request, answer: Callable[[Request], Awaitable[Response]]) -> Response:
    """Whatever is answered, refusals and faults included."""
    try:
        response = await answer(request)
    except Exception:
        log.exception("%s %s", request.method, request.url.path)
        response = PlainTextResponse("this page failed; the API server's log says why\n", status_code=500)
    response.headers.update(HEADERS)
    return response


@app.get("/verdicts/{verdict_id}/report")
def report(verdict_id: str) -> Response:
    """The HTML report of a verdict."""
    from tasks import operations
    from tasks.session import open_session

    if not re.fullmatch(r"[0-9a-f]{1,64}", verdict_id):
        raise NotFound(f"verdict {verdict_id[:80]!r}: there is none of that id")
    with open_session() as session:
        return HTMLResponse(operations.report_of(session, verdict_id))


@app.exception_handler(NotFound)
def not_found(_: Request, error: NotFound) -> Response:
    """A sentence instead of a traceback."""
    return _sentence(404, error)


@app.exception_handler(TransportError)
def unavailable(_: Request, error: TransportError) -> Response:
    """The lake does not answer."""
    return _sentence(503, error)


def _sentence(status: int, error: Exception) -> Response:
    return PlainTextResponse(f"{error}\n", status_code=status)
