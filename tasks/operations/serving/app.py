"""The service's addresses: `/predict`, `/healthz`, `/version`, `/card`; every answer but the card is JSON.

No answer holds a path, a secret, or more of a fault than who asked can mend; the rest is in the service's log.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from importlib.metadata import version as installed
from typing import Annotated, Any

from fastapi import FastAPI, File, Query, Request, UploadFile
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from tasks.config import Settings
from tasks.errors import NightscopeError, UnreadableRecording
from tasks.escaping import visible_name
from tasks.kind import Image, Row
from tasks.operations.serving.champion import Champion, ChampionWatch
from tasks.operations.serving.guard import BUSY, COME_AGAIN, TOO_LARGE, Guard, error_body, refusal
from tasks.operations.serving.pictures import NoPicture, Pictures, TooManyPixels

log = logging.getLogger(__name__)

_CODES = {
    400: "bad_request", 401: "unauthorized", 404: "not_found", 405: "method_not_allowed", 408: "too_slow",
    413: "too_large", 415: "unsupported_type", 422: "unreadable", 500: "internal", 503: "unavailable",
}  # fmt: skip
_FORM = "multipart/form-data"
_THE_FORM = f"{_FORM} with the file `image`"
_HOW = "send it as `curl --form image=@cell.png` does"
_UPLOADS_FOR_EACH = 8
"""Requests whose bodies may be arriving, for each that may be at work."""


_LONGEST = 200
"""Characters of an address in the log."""


class PictureSize(BaseModel):
    """The size of the picture that was looked at, in pixels."""

    width_px: int
    height_px: int


class Answer(BaseModel):
    """What the champion says of a picture."""

    line: str
    kind: str
    model_version: str
    classes: list[str]
    image: PictureSize
    predictions: list[dict[str, Any]]
    """A row for each thing it shows, or one for the picture; units stand in the names."""
    seconds: float
    """Of the prediction, without the upload and the decoding."""


class About(BaseModel):
    """Which model answers."""

    line: str
    kind: str
    model_version: str
    dataset_version: str
    weights_sha256: str
    classes: list[str]
    columns: list[str]
    device: str
    loaded_at: str
    checked_at: str
    confirmed: bool
    """Whether the last look found it in charge. Else it was when it was loaded, and nobody could be asked since."""
    nightscope: str


class Faults(BaseModel):
    """An error."""

    error: dict[str, Any]


_ERRORS: dict[int | str, dict[str, Any]] = {
    code: {"model": Faults, "description": HTTPStatus(code).phrase} for code in (400, 401, 413, 415, 422, 503)
}


def make_app(settings: Settings, watch: ChampionWatch, pictures: Pictures, token: str) -> FastAPI:
    """The service of a line.

    Args:
        settings: `serve` has its limits.
        watch: Knows the champion.
        pictures: Decodes uploads.
        token: What requests must bear.
    """
    limits = settings.serve
    # One thread for the model: predictors are not made for several, and share the machine's cores themselves.
    model_thread = ThreadPoolExecutor(1, "model")
    at_work = _Places(limits.at_once)
    # Swagger's page would load its scripts from a CDN; the description itself needs none.
    app = FastAPI(title="Nightscope", version=installed("nightscope"), docs_url=None, redoc_url=None)
    app.add_middleware(
        Guard,
        token=token,
        max_bytes=int(limits.max_mb * 1e6),
        upload_s=limits.upload_s,
        most_requests=_UPLOADS_FOR_EACH * limits.at_once,
    )
    _answer_errors(app)

    def champion() -> Champion:
        found = watch.current
        if found is None:
            raise refusal(
                503, "no champion answers yet", fix="come again when the line has one; the service's log says why"
            )
        return found

    @app.middleware("http")
    async def _logged(request: Request, call: Any) -> Any:
        start = time.perf_counter()
        answer = await call(request)
        spent = (time.perf_counter() - start) * 1e3
        asked = visible_name(f"{request.method} {request.url.path}"[:_LONGEST])
        log.info("%s %d, %.0f ms", asked, answer.status_code, spent)
        return answer

    @app.get("/healthz", responses={503: {"description": "No model answers yet"}})
    def healthz() -> JSONResponse:
        """Whether a model is there to answer. Needs no token, and says nothing else."""
        there = watch.current is not None
        return JSONResponse({"status": "ok" if there else "no model"}, 200 if there else 503)

    @app.get("/version", responses=_ERRORS)
    def version() -> About:
        """Which model answers, and since when."""
        now = champion()
        loaded, checked = now.loaded, watch.checked
        return About(
            line=loaded.line.line,
            kind=loaded.kind.name,
            model_version=loaded.record.version,
            dataset_version=loaded.record.dataset_version,
            weights_sha256=loaded.record.weights_oid,
            classes=list(loaded.line.classes),
            columns=list(loaded.columns),
            device=loaded.predictor.device,
            loaded_at=now.loaded_at.isoformat(),
            checked_at=checked.at.isoformat(),
            confirmed=checked.confirmed,
            nightscope=installed("nightscope"),
        )

    @app.get("/card", response_class=Response, responses=_ERRORS)
    def card() -> Response:
        """The model card of the model that answers, Markdown."""
        text = champion().card
        if text is None:
            raise HTTPException(404, "this model has no card")
        return Response(text, media_type="text/markdown; charset=utf-8")

    @app.post("/predict", responses=_ERRORS)
    async def predict(
        image: Annotated[UploadFile, File(description="A PNG, JPEG, BMP, TIFF or WebP.")],
        min_score: Annotated[float | None, Query(ge=0, le=1, allow_inf_nan=False)] = None,
    ) -> Answer:
        """What the champion says of a picture."""
        now = champion()
        with at_work:
            data = await image.read()
            if len(data) > limits.max_mb * 1e6:
                raise refusal(413, TOO_LARGE, expected=f"a picture of at most {limits.max_mb:g} MB",
                              found=f"{len(data) / 1e6:.1f} MB", fix="send a smaller one")  # fmt: skip
            read_original = getattr(now.loaded.predictor, "read_original", None)
            pixels = await asyncio.wrap_future(pictures.decode(data, read_original))
            rows, seconds = await asyncio.wrap_future(model_thread.submit(_look, now, pixels, min_score))
        return Answer(
            line=now.loaded.line.line,
            kind=now.loaded.kind.name,
            model_version=now.loaded.record.version,
            classes=list(now.loaded.line.classes),
            image=PictureSize(width_px=pixels.shape[1], height_px=pixels.shape[0]),
            predictions=rows,
            seconds=round(seconds, 4),
        )

    return app


class _Places:
    """So many may be at work or wait. Used by one thread, the event loop's."""

    def __init__(self, count: int) -> None:
        self._free = count

    def __enter__(self) -> None:
        if not self._free:
            raise refusal(503, BUSY, headers={"Retry-After": "1"}, fix=COME_AGAIN)
        self._free -= 1

    def __exit__(self, *_: object) -> None:
        self._free += 1


def _look(champion: Champion, image: Image, min_score: float | None) -> tuple[list[Row], float]:
    start = time.perf_counter()
    rows = champion.loaded.rows(image, min_score)
    seconds = time.perf_counter() - start
    return [{name: _plain(value) for name, value in row.items()} for row in rows], seconds


def _plain(value: Any) -> Any:
    """JSON has no NaN."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _answer_errors(app: FastAPI) -> None:
    """Errors as JSON, each with the code that a program can go by."""

    def of(status: int, message: str, headers: Any = None, **more: Any) -> JSONResponse:
        return JSONResponse(error_body(_CODES.get(status, "error"), message, **more), status, headers=headers)

    @app.exception_handler(HTTPException)
    async def refused(request: Request, error: HTTPException) -> JSONResponse:
        if error.status_code == 400 and request.url.path == "/predict":
            return of(400, "the request's body is no form that can be read", expected=_THE_FORM, fix=_HOW)
        detail: Any = error.detail
        return of(
            error.status_code, headers=error.headers, **(detail if isinstance(detail, dict) else {"message": detail})
        )

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        sent = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if request.method == "POST" and sent != _FORM:
            return of(415, "the body is of another type", expected=_THE_FORM,
                      found=visible_name(sent[:_LONGEST]) or "no Content-Type", fix=_HOW)  # fmt: skip
        faults = "; ".join(f"{fault['loc'][-1]}: {fault['msg']}" for fault in error.errors())
        return of(422, faults, expected="the file `image`, and min_score from 0 to 1 if at all", fix=_HOW)

    @app.exception_handler(NoPicture)
    async def no_picture(_: Request, error: NoPicture) -> JSONResponse:
        return of(415, error.thing, expected=error.expected, fix=error.fix)

    @app.exception_handler(TooManyPixels)
    async def too_large(_: Request, error: TooManyPixels) -> JSONResponse:
        return of(413, error.thing, expected=error.expected, fix=error.fix)

    @app.exception_handler(UnreadableRecording)
    async def unreadable(_: Request, error: UnreadableRecording) -> JSONResponse:
        return of(422, f"the picture cannot be read: {error.thing}", expected="one whole picture",
                  fix="open it where it was made, and export it again as PNG")  # fmt: skip

    @app.exception_handler(NightscopeError)
    async def ours(request: Request, error: NightscopeError) -> JSONResponse:
        log.error("%s %s: %s", request.method, visible_name(request.url.path[:_LONGEST]), error)
        return of(503, "the service cannot answer now; its log says why", fix=COME_AGAIN)

    @app.exception_handler(Exception)
    async def fault(request: Request, error: Exception) -> JSONResponse:
        log.error("%s %s failed", request.method, visible_name(request.url.path[:_LONGEST]), exc_info=error)
        return of(500, "the service failed; its log says why")
