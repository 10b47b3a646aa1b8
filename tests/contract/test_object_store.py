"""The contract that every S3 server we support must keep: one suite, run over rclone and over moto."""

from __future__ import annotations

import os
import threading
import urllib.request
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tasks.errors import ConfigError, DataError, NotFound, StorageUnavailable
from tasks.lake import ObjectStore
from tasks.stack.ports import any_port
from tests.s3_servers import S3Server, moto, presigned


@pytest.fixture(scope="session")
def moto_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with moto(tmp_path_factory.mktemp("moto")) as server:
        yield server


@pytest.fixture(params=["rclone", "moto"])
def server(request: pytest.FixtureRequest) -> S3Server:
    return request.getfixturevalue({"rclone": "s3_server", "moto": "moto_server"}[request.param])


@pytest.fixture
def store(server: S3Server) -> ObjectStore:
    made = ObjectStore(server.settings, f"contract-{uuid.uuid4().hex[:12]}")
    made.ensure_bucket()
    return made


def test_what_is_put_is_got(store: ObjectStore) -> None:
    for data in (b"", b"x", bytes(range(256)) * 1000):
        store.put_bytes("a/b", data)
        assert store.get_bytes("a/b") == data


def test_put_replaces(store: ObjectStore) -> None:
    store.put_bytes("a", b"old")
    store.put_bytes("a", b"newer")
    assert store.get_bytes("a") == b"newer"
    assert [info.key for info in store.list()] == ["a"]


@pytest.mark.parametrize(
    "key", ["with space.mp4", "späße/精子 №1.avi", "a+b&c=d%20e#f?g.mov", "x" * 120, "a;b,c'd(e)!@$~"]
)
def test_any_name_survives(store: ObjectStore, key: str) -> None:
    store.put_bytes(key, b"1")
    assert store.get_bytes(key) == b"1"
    assert [info.key for info in store.list()] == [key]
    assert store.head(key) is not None
    with urllib.request.urlopen(presigned(store, key)) as response:
        assert response.read() == b"1"


@pytest.mark.parametrize("key", ["", "/a", "../a", "a/../../b", "a//b", "a/./b", "a/"])
def test_keys_that_leave_the_bucket_are_refused(store: ObjectStore, key: str) -> None:
    with pytest.raises(DataError, match="object key"):
        store.put_bytes(key, b"1")
    with pytest.raises(DataError, match="object key"):
        store.get_bytes(key)


def test_what_is_not_there(store: ObjectStore) -> None:
    assert store.head("nothing") is None
    with pytest.raises(NotFound, match=rf"s3://{store.bucket}/nothing"):
        store.get_bytes("nothing")
    store.remove("nothing")


def test_a_small_document_is_read_if_it_is_there(store: ObjectStore) -> None:
    store.put_bytes("a/b.json", b'{"number": 1}', "application/json")
    assert store.get_json("a/b.json") == {"number": 1}
    assert store.get_json("a/c.json") is None


def test_a_missing_object_leaves_no_file(store: ObjectStore, tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        store.get_file("nothing", tmp_path / "file")
    assert list(tmp_path.iterdir()) == []


def test_a_bucket_that_is_not_there_yet_is_empty_and_made_on_first_write(server: S3Server) -> None:
    store = ObjectStore(server.settings, f"contract-{uuid.uuid4().hex[:12]}")
    assert list(store.list()) == []
    assert store.head("a") is None
    with pytest.raises(NotFound):
        store.get_bytes("a")
    store.put_bytes("a", b"1")
    assert store.get_bytes("a") == b"1"


def test_buckets_are_made_once_by_many(server: S3Server) -> None:
    bucket = f"contract-{uuid.uuid4().hex[:12]}"
    faults: list[Exception] = []

    def make() -> None:
        try:
            ObjectStore(server.settings, bucket).ensure_bucket()
        except Exception as error:
            faults.append(error)

    threads = [threading.Thread(target=make) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []


def test_head_and_list_agree(store: ObjectStore) -> None:
    store.put_bytes("a/1", b"one")
    store.put_bytes("a/22", b"three")
    store.put_bytes("b/3", b"")
    listed = list(store.list())
    assert [info.key for info in listed] == ["a/1", "a/22", "b/3"]
    assert [info.size_bytes for info in listed] == [3, 5, 0]
    assert listed == [store.head(info.key) for info in listed]
    assert all(info.etag for info in listed)
    assert all(abs(info.modified_at - datetime.now(UTC)) < timedelta(minutes=5) for info in listed)


def test_the_etag_tells_a_change(store: ObjectStore) -> None:
    store.put_bytes("a", b"old")
    before = store.head("a")
    store.put_bytes("a", b"new")
    after = store.head("a")
    assert before is not None and after is not None and before.etag != after.etag


def test_list_by_prefix(store: ObjectStore) -> None:
    for key in ("a/1", "a/2", "ab/3", "b"):
        store.put_bytes(key, b"")
    assert [info.key for info in store.list("a/")] == ["a/1", "a/2"]
    assert [info.key for info in store.list("a")] == ["a/1", "a/2", "ab/3"]
    assert list(store.list("c/")) == []


def test_long_lists_come_whole(store: ObjectStore) -> None:
    keys = [f"many/{number:04}" for number in range(1100)]  # a page holds 1000
    for key in keys:
        store.put_bytes(key, b"")
    assert [info.key for info in store.list("many/")] == keys


def test_removed_is_gone(store: ObjectStore) -> None:
    store.put_bytes("a/b", b"1")
    store.remove("a/b")
    assert store.head("a/b") is None
    assert list(store.list()) == []
    store.put_bytes("a", b"1")  # the folder that `a/b` may have been in is not in the way
    assert store.get_bytes("a") == b"1"


def test_files_larger_than_a_part(store: ObjectStore, tmp_path: Path) -> None:
    source, copy = tmp_path / "source", tmp_path / "deep" / "copy"
    source.write_bytes(os.urandom(2**20) * 40)
    store.put_file("big", source)
    info = store.head("big")
    assert info is not None and info.size_bytes == 40 * 2**20
    store.get_file("big", copy)
    assert copy.read_bytes() == source.read_bytes()
    assert [path.name for path in copy.parent.iterdir()] == ["copy"]


def test_large_bytes_in_one_request(store: ObjectStore) -> None:
    data = os.urandom(2**20) * 20
    store.put_bytes("big", data)
    assert store.get_bytes("big") == data


def test_empty_file(store: ObjectStore, tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    store.put_file("empty", tmp_path / "empty")
    assert store.get_bytes("empty") == b""


def test_presigned_urls_need_no_keys_and_cannot_be_bent(store: ObjectStore) -> None:
    store.put_bytes("a", b"image")
    store.put_bytes("b", b"other")
    url = presigned(store, "a", expires_s=60)
    with urllib.request.urlopen(url) as response:
        assert response.read() == b"image"
    assert store._s3.secret_key.get_secret_value() not in url


def test_the_content_type_reaches_browsers(store: ObjectStore) -> None:
    store.put_bytes("frame.jpg", b"image", "image/jpeg")
    with urllib.request.urlopen(presigned(store, "frame.jpg")) as response:
        assert response.headers["content-type"] == "image/jpeg"


def test_threads_share_a_store(store: ObjectStore) -> None:
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(16) as threads:
        list(threads.map(lambda n: store.put_bytes(f"t/{n}", str(n).encode()), range(200)))
        assert list(threads.map(lambda n: store.get_bytes(f"t/{n}"), range(200))) == [
            str(n).encode() for n in range(200)
        ]


def test_forked_children_get_their_own_connections(store: ObjectStore) -> None:
    store.put_bytes("a", b"parent")
    pid = os.fork()
    if pid == 0:  # pragma: no cover
        ok = all(store.get_bytes("a") == b"parent" for _ in range(20))
        os._exit(0 if ok else 1)
    assert all(store.get_bytes("a") == b"parent" for _ in range(20))
    assert os.waitpid(pid, 0)[1] == 0


def test_wrong_keys_are_a_configuration_error(s3_server: S3Server) -> None:
    """Only where signatures are checked: moto takes any."""
    from pydantic import SecretStr

    wrong = s3_server.settings.model_copy(update={"secret_key": SecretStr("not-the-secret-at-all")})
    store = ObjectStore(wrong, "contract-keys")
    for act in (
        lambda: store.get_bytes("a"), lambda: store.put_bytes("a", b""), lambda: list(store.list()),
        lambda: store.head("a"),
    ):  # fmt: skip
        with pytest.raises(ConfigError, match="refuses our keys"):
            act()


def test_a_server_that_is_down_is_worth_another_try(s3_server: S3Server) -> None:
    endpoint = f"http://127.0.0.1:{any_port()}"
    store = ObjectStore(s3_server.settings.model_copy(update={"endpoint": endpoint}), "bucket")
    for act in (
        lambda: store.get_bytes("k"), lambda: store.put_bytes("k", b""), lambda: store.head("k"),
        lambda: store.remove("k"),
    ):  # fmt: skip
        with pytest.raises(StorageUnavailable, match=f"{endpoint} s3://bucket/k"):
            act()
    with pytest.raises(StorageUnavailable, match=endpoint):
        list(store.list())
    with pytest.raises(StorageUnavailable, match=endpoint):
        store.ensure_bucket()


def test_no_endpoint_says_what_to_do(s3_server: S3Server) -> None:
    store = ObjectStore(s3_server.settings.model_copy(update={"endpoint": ""}), "bucket")
    with pytest.raises(ConfigError, match="NIGHTSCOPE_S3__ENDPOINT"):
        store.get_bytes("k")
