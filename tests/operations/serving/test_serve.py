"""The service answers with what the champion says, to who bears the token; what is bad is refused in a sentence."""

from __future__ import annotations

import io
import socket
import struct
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import httpx
import numpy as np
import PIL.Image
import pytest
import tifffile

from tasks.operations.predicting.loading import load_model
from tasks.operations.serving.token import load_or_create, token_file
from tasks.promotion.journal import PendingPromotion, commit, promotion_lock
from tasks.registry.models import CHAMPION
from tasks.schemas import NightState
from tasks.session import open_session
from tasks.training.train import train_challenger
from tests.operations.exporting import DETECTION, HEIGHT, WIDTH, Champion, one_cpu
from tests.operations.serving.service import Service, serving

MAX_MB, MAX_MPX = 1.0, 2.0
LIMITS = {
    "NIGHTSCOPE_SERVE__MAX_MB": str(MAX_MB),
    "NIGHTSCOPE_SERVE__MAX_MPX": str(MAX_MPX),
    "NIGHTSCOPE_SERVE__CHECK_EVERY_S": "0.3",
    "NIGHTSCOPE_SERVE__UPLOAD_S": "3",
    "NIGHTSCOPE_SERVE__AT_ONCE": "4",
}


@pytest.fixture(scope="module")
def service(champion: Champion, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("service")
    with serving(champion.settings, champion.lines_dir, champion.line.line, folder, **LIMITS) as running:
        yield running


@pytest.fixture
def client(service: Service) -> Iterator[httpx.Client]:
    with service.client() as client:
        yield client


def picture(seed: int = 1) -> np.ndarray:
    """A bright square and a grey bar on noise, as the champion has learned them; BGR."""
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 30, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    image[10:22, 20:32] = 250
    image[40:46, 50:70] = 120
    return image


def encoded(image: np.ndarray, suffix: str = ".png") -> bytes:
    return bytes(cv2.imencode(suffix, image)[1])


def post(client: httpx.Client, data: bytes, name: str = "a.png", **params: float) -> httpx.Response:
    return client.post("/predict", files={"image": (name, data)}, params=params)


def error_of(answer: httpx.Response, service: Service) -> dict[str, str]:
    """The error's JSON; and that it holds neither the token nor a path."""
    assert answer.headers["content-type"] == "application/json"
    assert service.token not in answer.text and "/tmp" not in answer.text and "NIGHTSCOPE_" not in answer.text
    found = answer.json()
    assert set(found) == {"error"} and found["error"]["code"] and found["error"]["message"]
    if answer.status_code not in (404, 405):
        assert found["error"]["fix"], "it says what to do"
    return found["error"]


def test_it_says_what_the_champion_says(client: httpx.Client, champion: Champion) -> None:
    image = picture()
    loaded = load_model(
        open_session(champion.settings.model_copy(update={"lines_dir": champion.lines_dir})), champion.line.line
    )
    expected = loaded.rows(image, 0.05)
    assert expected, "the model must find something"
    answer = post(client, encoded(image), min_score=0.05)
    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert found["predictions"] == expected
    assert set(found["predictions"][0]) == {"label", "score", "x_px", "y_px", "width_px", "height_px"}
    assert found["image"] == {"width_px": WIDTH, "height_px": HEIGHT}
    assert (found["line"], found["model_version"]) == (champion.line.line, champion.record.version)
    assert found["classes"] == list(champion.line.classes)
    assert answer.headers["x-content-type-options"] == "nosniff" and answer.headers["cache-control"] == "no-store"
    sure = post(client, encoded(image), min_score=0.9).json()["predictions"]
    assert all(row["score"] >= 0.9 for row in sure) and len(sure) <= len(expected)


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tiff", ".webp", ".jpg"])
def test_every_kind_of_picture_is_read(client: httpx.Client, suffix: str) -> None:
    answer = post(client, encoded(picture(), suffix), f"anything{suffix}")
    assert answer.status_code == 200 and answer.json()["image"]["width_px"] == WIDTH


def test_a_grey_picture_of_16_bits_is_read(client: httpx.Client) -> None:
    out = io.BytesIO()
    tifffile.imwrite(out, (picture()[..., 0].astype(np.uint16) * 200))
    assert post(client, out.getvalue(), "deep.tif").status_code == 200


def test_version_card_and_health(client: httpx.Client, service: Service, champion: Champion) -> None:
    about = client.get("/version").json()
    assert about["model_version"] == champion.record.version and about["confirmed"] is True
    assert about["weights_sha256"] == champion.record.weights_oid and about["device"] == "cpu"
    card = client.get("/card")
    assert card.headers["content-type"].startswith("text/markdown") and champion.line.line in card.text
    with service.client(token="") as stranger:
        health = stranger.get("/healthz")
    assert (health.status_code, health.json()) == (200, {"status": "ok"})
    described = client.get("/openapi.json").json()
    assert set(described["paths"]) == {"/predict", "/version", "/card", "/healthz"}
    assert client.get("/docs").status_code == client.get("/redoc").status_code == 404


@pytest.mark.parametrize("path", ["/predict", "/version", "/card", "/openapi.json", "/docs", "/nothing"])
@pytest.mark.parametrize("token", ["", "wrong", "ÿ"])
def test_nobody_without_the_token_is_answered(service: Service, path: str, token: str) -> None:
    bearer = {"Authorization": f"Bearer {token}".encode("latin-1")} if token else {}
    with httpx.Client(base_url=service.url, headers=bearer) as stranger:
        answer = stranger.post(path, files={"image": ("a.png", b"x")}) if path == "/predict" else stranger.get(path)
    assert answer.status_code == 401 and answer.headers["www-authenticate"] == "Bearer"
    assert error_of(answer, service)["code"] == "unauthorized"


def bomb_png(width_px: int, height_px: int) -> bytes:
    """A small PNG that claims to be large, and is: rows of zeros compress to nothing."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width_px, height_px, 8, 0, 0, 0, 0)
    rows = zlib.compress(bytes((width_px + 1) * height_px), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def two_pages() -> bytes:
    out = io.BytesIO()
    tifffile.imwrite(out, np.zeros((2, 8, 8), np.uint8), photometric="minisblack")
    return out.getvalue()


def animated(kind: str) -> bytes:
    out = io.BytesIO()
    first, second = (PIL.Image.fromarray(picture(seed)) for seed in (1, 2))
    first.save(out, kind, save_all=True, append_images=[second], duration=100)
    return out.getvalue()


WHOLE = encoded(picture())
BAD = {
    "an animated GIF": (animated("GIF"), 415, "unsupported_type"),
    "an animated PNG": (animated("PNG"), 422, "unreadable"),
    "an animated WebP": (animated("WEBP"), 422, "unreadable"),
    "a JPEG cut short": (encoded(picture(), ".jpg")[:1200], 422, "unreadable"),
    "text": (b"hello, this is no picture", 415, "unsupported_type"),
    "a program": (b"\x7fELF" + bytes(100), 415, "unsupported_type"),
    "a video": (b"\0\0\0\x18ftypmp42" + bytes(100), 415, "unsupported_type"),
    "nothing": (b"", 422, "unreadable"),
    "cut short": (WHOLE[: len(WHOLE) // 2], 422, "unreadable"),
    "damaged": (WHOLE[:200] + b"\xff" * 50 + WHOLE[250:], 422, "unreadable"),
    "a JPEG's head": (b"\xff\xd8\xff\xe0" + bytes(40), 422, "unreadable"),
    "two pages": (two_pages(), 422, "unreadable"),
    "a bomb": (bomb_png(20_000, 20_000), 413, "too_large"),
    "a bit too large": (bomb_png(1500, 1400), 413, "too_large"),
    "too many bytes": (bytes(int(MAX_MB * 1e6) + 1), 413, "too_large"),
    "far too many bytes": (bytes(20_000_000), 413, "too_large"),
}


@pytest.mark.parametrize("what", BAD)
def test_bad_uploads_are_refused_in_a_sentence(client: httpx.Client, service: Service, what: str) -> None:
    data, status, code = BAD[what]
    answer = post(client, data)
    assert (answer.status_code, error_of(answer, service)["code"]) == (status, code), answer.text
    assert post(client, WHOLE).status_code == 200, "the next one is answered"


def test_bad_requests_are_refused_in_a_sentence(client: httpx.Client, service: Service) -> None:
    raw = client.post("/predict", content=WHOLE, headers={"Content-Type": "image/png"})
    assert raw.status_code == 415 and "multipart/form-data" in error_of(raw, service)["expected"]
    as_json = client.post("/predict", json={"image": "x"})
    assert as_json.status_code == 415 and error_of(as_json, service)
    other = client.post("/predict", files={"picture": ("a.png", WHOLE)})
    assert other.status_code == 422 and "image" in error_of(other, service)["message"]
    broken = client.post(
        "/predict", content=b"--x\r\nnonsense", headers={"Content-Type": "multipart/form-data; boundary=x"}
    )
    assert broken.status_code in (400, 422) and error_of(broken, service)
    nameless = client.post("/predict", content=b"abc", headers={"Content-Type": "multipart/form-data"})
    assert nameless.status_code == 400 and error_of(nameless, service)["code"] == "bad_request"
    for bad in (-1, 2, "nan", "many"):
        answer = client.post("/predict", files={"image": ("a.png", WHOLE)}, params={"min_score": bad})
        assert answer.status_code == 422 and error_of(answer, service)
    assert (
        client.get("/predict").status_code == 405
        and error_of(client.get("/predict"), service)["code"] == "method_not_allowed"
    )
    assert error_of(client.get("/nothing"), service)["code"] == "not_found"


def test_a_chunked_flood_is_stopped_and_a_trickle_is_not_waited_for(client: httpx.Client, service: Service) -> None:
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    start = b'--x\r\nContent-Disposition: form-data; name="image"; filename="a.png"\r\n\r\n'

    def flood() -> Iterator[bytes]:
        yield start
        for _ in range(40):
            yield bytes(100_000)

    answer = client.post("/predict", content=flood(), headers=headers)
    assert answer.status_code == 413 and error_of(answer, service)["code"] == "too_large"

    def trickle() -> Iterator[bytes]:
        yield start
        for _ in range(60):
            time.sleep(0.2)
            yield b"x"

    try:
        slow = client.post("/predict", content=trickle(), headers=headers)
        assert slow.status_code == 408 and error_of(slow, service)["code"] == "too_slow"
    except httpx.WriteError:  # it has hung up before the last byte
        pass
    assert "POST /predict 408" in service.log.read_text()


def test_who_sends_no_whole_head_is_hung_up_on_and_the_others_are_answered(
    client: httpx.Client, service: Service
) -> None:
    host, port = service.url.removeprefix("http://").split(":")
    idle = [socket.create_connection((host, int(port))) for _ in range(60)]
    for number, each in enumerate(idle):
        each.settimeout(60)
        each.sendall(b"" if number % 2 else b"POST /predict HTTP/1.1\r\nHost: x\r\nX-Slow: ")
    assert post(client, WHOLE).status_code == 200
    for each in idle:
        assert each.recv(100) == b"", "closed by the service, without an answer"
        each.close()
    with socket.create_connection((host, int(port))) as rude:
        rude.settimeout(60)
        rude.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Long: " + b"x" * 200_000 + b"\r\n\r\n")
        assert b" 200 " not in rude.recv(100)


def test_an_address_cannot_forge_the_log(client: httpx.Client, service: Service) -> None:
    assert client.get("/%1b%5b31m%0aINFO%20forged" + "x" * 500).status_code == 404
    log = service.log.read_text()
    assert "forged" in log and "\x1b" not in log and "\nINFO forged" not in log and "x" * 300 not in log


def test_many_at_once_are_answered_rightly_or_asked_to_come_again(client: httpx.Client, service: Service) -> None:
    pictures = {seed: encoded(np.roll(picture(seed), 7 * seed, axis=1)) for seed in range(4)}
    alone = {seed: post(client, data, min_score=0.05).json()["predictions"] for seed, data in pictures.items()}
    with ThreadPoolExecutor(24) as threads:
        asked = [seed for _ in range(24) for seed in pictures]
        answers = list(threads.map(lambda seed: post(client, pictures[seed], min_score=0.05), asked))
    busy = [answer for answer in answers if answer.status_code == 503]
    assert {answer.status_code for answer in answers} <= {200, 503}
    assert all(answer.headers["retry-after"] == "1" and error_of(answer, service) for answer in busy)
    for seed, answer in zip(asked, answers, strict=True):
        if answer.status_code == 200:
            assert answer.json()["predictions"] == alone[seed]
    assert len(busy) < len(answers)
    assert post(client, pictures[0]).status_code == 200


def test_the_token_is_its_owners_and_stays(champion: Champion, service: Service) -> None:
    path = token_file(champion.settings, champion.line.line)
    assert path.stat().st_mode & 0o777 == 0o600 and path.parent.stat().st_mode & 0o077 == 0
    assert load_or_create(champion.settings, champion.line.line) == service.token
    assert service.token not in service.log.read_text()
    assert service.token not in Path(f"/proc/{service.pid}/cmdline").read_bytes().decode()


def test_it_listens_on_the_loopback_interface_only(service: Service) -> None:
    assert service.url.startswith("http://127.0.0.1:")


def asked_all_the_while(service: Service, wait: Callable[[], Any]) -> list[tuple[str, list[dict[str, Any]]]]:
    """What two clients are answered until `wait` returns: the version, and what it said of one picture."""
    done, found = threading.Event(), []

    def ask() -> None:
        with service.client() as own:
            while not done.is_set():
                answer = post(own, WHOLE, min_score=0.01)
                assert answer.status_code == 200, answer.text
                found.append((answer.json()["model_version"], answer.json()["predictions"]))

    with ThreadPoolExecutor(2) as threads:
        asking = [threads.submit(ask) for _ in range(2)]
        try:
            wait()
        finally:
            done.set()
        for each in asking:
            each.result()
    return found


def test_a_new_champion_takes_over_and_one_by_another_hand_does_not(
    champion: Champion, client: httpx.Client, service: Service
) -> None:
    lake, registry, line = champion.lake, champion.registry, champion.line
    first = champion.record.version
    again = line.with_changes({"seed": 5, "min_steps": 2})
    data = DETECTION.layout.materialise(lake, line, champion.record.dataset_version)
    with one_cpu():
        training = train_challenger(
            lake, again, DETECTION, champion.record.dataset_version, data, False, progress=lambda _: None
        )
    assert training.model_version != first

    registry.client.set_registered_model_alias(line.line, CHAMPION, training.model_version)
    about = until(client, lambda about: not about["confirmed"])
    assert about["model_version"] == first, "an alias in MLflow puts nobody in charge"
    assert post(client, WHOLE).json()["model_version"] == first
    registry.client.set_registered_model_alias(line.line, CHAMPION, first)
    until(client, lambda about: about["confirmed"])

    with promotion_lock(open_session(champion.settings), line.line):
        order = PendingPromotion(
            line=line.line, action="promotion", key="k2", outcome=NightState.PROMOTED, by="ana", note="another",
            before=registry.aliases(line.line), model_version=training.model_version, override=True,
        )  # fmt: skip
        commit(lake, registry, order)
    meanwhile = asked_all_the_while(service, lambda: until(
        client, lambda about: about["model_version"] == training.model_version)
    )  # fmt: skip
    assert {version for version, _ in meanwhile} <= {first, training.model_version}
    for version in {version for version, _ in meanwhile}:
        of_it = [rows for own, rows in meanwhile if own == version]
        assert all(rows == of_it[0] for rows in of_it), "an answer is of the version that it names"
    about = client.get("/version").json()
    assert about["confirmed"] and about["weights_sha256"] == training.weights_oid
    assert post(client, WHOLE).json()["model_version"] == training.model_version


def until(client: httpx.Client, holds) -> dict:
    end = time.monotonic() + 60
    while time.monotonic() < end:
        about = client.get("/version").json()
        if holds(about):
            return about
        time.sleep(0.2)
    raise AssertionError(f"it never came to that: {about}")


def test_without_a_champion_it_waits_for_one(champion: Champion, tmp_path: Path) -> None:
    text = (champion.lines_dir / f"{champion.line.line}.yaml").read_text()
    (tmp_path / "nobody-yet.yaml").write_text(text.replace(champion.line.line, "nobody-yet"))
    with serving(champion.settings, tmp_path, "nobody-yet", tmp_path, **LIMITS) as service, service.client() as client:
        assert client.get("/healthz").status_code == 503
        answer = post(client, WHOLE)
        assert answer.status_code == 503 and error_of(answer, service)["code"] == "unavailable"
        assert client.get("/version").status_code == client.get("/card").status_code == 503
