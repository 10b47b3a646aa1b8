"""Each S3 key opens what its holder needs, and nothing else; the servers are the real ones."""

from __future__ import annotations

import time
from contextlib import suppress
from itertools import product

import httpx
import pytest

from tasks.config import S3Settings, Settings
from tasks.errors import NightscopeError
from tasks.lake import Lake
from tasks.lake.object_store import ObjectStore
from tests.s3_servers import presigned


@pytest.fixture(scope="module")
def filled(lake: Lake) -> dict[str, str]:
    """A recording, a frame and a landed file."""
    recording, frame = lake.blobs.put_bytes(b"a recording"), lake.blobs.put_bytes(b"a frame")
    lake.frames.publish([frame])
    lake.landing.put_bytes("clip.mp4", b"a clip")
    return {"recording": recording, "frame": frame}


def _reads(key: S3Settings, bucket: str, name: str) -> bytes | None:
    try:
        return ObjectStore(key, bucket).get_bytes(name)
    except NightscopeError:
        return None


def test_label_studio_reads_frames_and_nothing_else(lake: Lake, filled: dict[str, str], frames_key: S3Settings) -> None:
    assert _reads(frames_key, "frames", lake.frames.key(filled["frame"])) == b"a frame"
    endpoints = (frames_key.endpoint, lake.settings.s3.endpoint, lake.settings.s3.landing.endpoint)
    for endpoint, bucket in product(endpoints, ("lake", "landing", "mlflow")):
        key = frames_key.model_copy(update={"endpoint": endpoint})
        for name in (lake.blobs.key(filled["recording"]), lake.blobs.key(filled["frame"]), "clip.mp4"):
            assert _reads(key, bucket, name) is None, (endpoint, bucket, name)


def test_label_studio_changes_nothing(lake: Lake, filled: dict[str, str], frames_key: S3Settings) -> None:
    served = ObjectStore(frames_key, "frames")
    for attempt in (
        lambda: served.put_bytes("ab/planted", b"x"),
        lambda: served.put_bytes(lake.frames.key(filled["frame"]), b"another picture"),
        lambda: served.remove(lake.frames.key(filled["frame"])),
        lambda: ObjectStore(frames_key, "planted").ensure_bucket(),
    ):
        try:
            attempt()
        except NightscopeError:
            continue
    assert lake.frames.store.get_bytes(lake.frames.key(filled["frame"])) == b"a frame"
    assert lake.frames.store.head("ab/planted") is None


def test_mlflow_opens_its_artifacts_only(lake: Lake, filled: dict[str, str], mlflow_key: S3Settings) -> None:
    own = ObjectStore(mlflow_key, "mlflow")
    own.put_bytes("probe", b"x")
    assert own.get_bytes("probe") == b"x"
    for endpoint in (mlflow_key.endpoint, lake.settings.s3.endpoint, lake.settings.s3.landing.endpoint):
        key = mlflow_key.model_copy(update={"endpoint": endpoint})
        for bucket, name in (("lake", lake.blobs.key(filled["recording"])), ("landing", "clip.mp4")):
            assert _reads(key, bucket, name) is None
            with suppress(NightscopeError):  # in its own server it may make a bucket of that name
                ObjectStore(key, bucket).put_bytes("planted", b"x")
    assert lake.store.head("planted") is None and lake.landing.head("planted") is None


def test_bringing_recordings_needs_the_landing_key_only(lake: Lake, filled: dict[str, str]) -> None:
    s3 = lake.settings.s3
    landing = s3.by(s3.landing)
    assert landing.access_key != s3.access_key and landing.endpoint != s3.endpoint
    assert _reads(landing, "landing", "clip.mp4") == b"a clip"
    for endpoint in (landing.endpoint, s3.endpoint):
        key = landing.model_copy(update={"endpoint": endpoint})
        assert _reads(key, "lake", lake.blobs.key(filled["recording"])) is None


def test_nobody_gets_in_without_a_key(services: Settings, frames_key: S3Settings, mlflow_key: S3Settings) -> None:
    for endpoint in (services.s3.endpoint, services.s3.landing.endpoint, frames_key.endpoint, mlflow_key.endpoint):
        for path in ("/", "/lake/", "/landing/clip.mp4", "/frames/", "/mlflow/"):
            assert httpx.get(f"{endpoint}{path}").status_code in (400, 401, 403), path
            assert httpx.put(f"{endpoint}/lake/planted", content=b"x").status_code in (400, 401, 403)


def test_an_address_is_good_for_its_time_only(lake: Lake, filled: dict[str, str], frames_key: S3Settings) -> None:
    url = presigned(ObjectStore(frames_key, "frames"), lake.frames.key(filled["frame"]), expires_s=6)
    assert httpx.get(url).content == b"a frame"
    other = httpx.get(url.replace(filled["frame"][:40], "0" * 40))
    assert other.status_code in (400, 403), "signed for one object"
    time.sleep(7)
    late = httpx.get(url)
    assert late.status_code in (400, 403) and late.content != b"a frame"
