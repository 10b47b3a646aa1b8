"""Blobs: content-addressed, verified, cached."""

from __future__ import annotations

import hashlib
import os
import stat
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tasks.errors import DataError, IntegrityError, NotFound
from tasks.lake import Lake, open_lake
from tasks.lake.blobs import Blobs
from tests.s3_servers import S3Server


def served(lake: Lake, server: S3Server, oid: str) -> Path:
    """The blob's file on the server's disk."""
    assert server.folder is not None
    return server.folder / lake.store.bucket / lake.blobs.key(oid)


def test_a_blob_is_named_by_its_bytes(lake: Lake) -> None:
    oid = lake.blobs.put_bytes(b"frame")
    assert oid == hashlib.sha256(b"frame").hexdigest()
    assert lake.blobs.key(oid) == f"blobs/sha256/{oid[:2]}/{oid}"
    assert lake.blobs.uri(oid) == f"s3://{lake.store.bucket}/blobs/sha256/{oid[:2]}/{oid}"
    assert lake.blobs.exists(oid) and not lake.blobs.exists("0" * 64)
    assert lake.blobs.get_bytes(oid) == b"frame"


def test_same_bytes_are_uploaded_once(lake: Lake, s3_server: S3Server) -> None:
    oid = lake.blobs.put_bytes(b"frame")
    an_hour_ago = int(time.time()) - 3600
    os.utime(served(lake, s3_server, oid), (an_hour_ago, an_hour_ago))
    lake.blobs.put_bytes(b"frame")
    assert served(lake, s3_server, oid).stat().st_mtime == an_hour_ago


def test_an_old_blob_is_renewed_before_anybody_refers_to_it_again(lake: Lake, s3_server: S3Server) -> None:
    # Nothing may refer to it, and then garbage collection may take it at any moment.
    oid = lake.blobs.put_bytes(b"frame")
    os.utime(served(lake, s3_server, oid), (1, 1))
    lake.blobs.put_bytes(b"frame")
    assert served(lake, s3_server, oid).stat().st_mtime > time.time() - 60


def test_files_and_bytes_are_the_same_blob(lake: Lake, tmp_path: Path) -> None:
    (tmp_path / "späß.bin").write_bytes(b"frame" * 1_000_000)
    assert lake.blobs.put_file(tmp_path / "späß.bin") == lake.blobs.put_bytes(b"frame" * 1_000_000)


def test_a_cut_off_object_is_stored_again(lake: Lake) -> None:
    oid = lake.blobs.put_bytes(b"frame")
    lake.store.put_bytes(lake.blobs.key(oid), b"fra")
    lake.blobs.put_bytes(b"frame")
    assert lake.blobs.get_bytes(oid) == b"frame"


def test_many_come_in_order(lake: Lake) -> None:
    items = [str(number).encode() for number in range(50)]
    oids = lake.blobs.put_many(items)
    assert oids == [hashlib.sha256(data).hexdigest() for data in items]
    assert {oid: path.read_bytes() for oid, path in lake.blobs.fetch_many(oids).items()} == dict(
        zip(oids, items, strict=True)
    )


def test_fetched_files_are_read_only_and_stay(lake: Lake) -> None:
    oid = lake.blobs.put_bytes(b"frame")
    path = lake.blobs.fetch(oid)
    assert path == lake.settings.cache_dir / "blobs" / "sha256" / oid[:2] / oid
    assert stat.S_IMODE(path.stat().st_mode) == 0o444
    lake.store.remove(lake.blobs.key(oid))
    assert lake.blobs.fetch(oid) == path  # no request needed
    assert [other.name for other in path.parent.iterdir()] == [oid]


def test_a_flipped_byte_is_found_and_never_cached(lake: Lake, s3_server: S3Server) -> None:
    oid = lake.blobs.put_bytes(b"frame")
    file = served(lake, s3_server, oid)
    file.write_bytes(b"fraMe")
    with pytest.raises(IntegrityError, match=oid):
        lake.blobs.get_bytes(oid)
    with pytest.raises(IntegrityError, match=oid):
        lake.blobs.fetch_many([oid])
    assert not [path for path in lake.settings.cache_dir.rglob("*") if path.is_file()]
    file.write_bytes(b"frame")
    assert lake.blobs.fetch(oid).read_bytes() == b"frame"


@pytest.mark.parametrize("damage", [b"fraMe", b"", b"frame and more"])
def test_a_damaged_cache_heals(lake: Lake, damage: bytes) -> None:
    oid = lake.blobs.put_bytes(b"frame")
    path = lake.blobs.fetch(oid)
    path.chmod(0o644)
    path.write_bytes(damage)
    assert lake.blobs.fetch(oid).read_bytes() == b"frame"
    assert lake.blobs.get_bytes(oid) == b"frame"


def test_a_touched_but_whole_copy_is_kept(lake: Lake) -> None:
    oid = lake.blobs.put_bytes(b"frame")
    path = lake.blobs.fetch(oid)
    inode = path.stat().st_ino
    path.touch()
    assert lake.blobs.fetch(oid).stat().st_ino == inode
    assert lake.blobs.fetch(oid).stat().st_ino == inode


def test_the_cache_may_be_deleted(lake: Lake) -> None:
    oid = lake.blobs.put_bytes(b"frame")
    lake.blobs.fetch(oid).unlink()
    assert lake.blobs.fetch(oid).read_bytes() == b"frame"


def test_two_lakes_share_a_server(lake: Lake) -> None:
    oid = lake.blobs.put_bytes(b"frame")
    other = open_lake(lake.settings.model_copy(update={"state_dir": lake.settings.state_dir / "elsewhere"}))
    assert other.blobs.fetch(oid).read_bytes() == b"frame"


def test_missing_blobs(lake: Lake) -> None:
    here = lake.blobs.put_bytes(b"frame")
    with pytest.raises(NotFound, match="0" * 64):
        lake.blobs.fetch_many([here, "0" * 64])
    with pytest.raises(NotFound):
        lake.blobs.get_bytes("0" * 64)


@pytest.mark.parametrize("oid", ["", "abc", "../../etc/passwd", "A" * 64, "0" * 63 + "\n"])
def test_what_is_no_oid_is_refused(lake: Lake, oid: str) -> None:
    for act in (lake.blobs.fetch, lake.blobs.get_bytes, lake.blobs.exists, lake.blobs.key):
        with pytest.raises(DataError, match="64 lower-case hex"):
            act(oid)


def test_many_items_are_drawn_as_they_are_stored(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn, most = 0, 0
    real = Blobs.put_bytes

    def put(self: Blobs, data: bytes, content_type: str = "") -> str:
        nonlocal most
        most = max(most, drawn - int(data))
        return real(self, data)

    def items() -> Iterator[bytes]:
        nonlocal drawn
        for number in range(400):
            drawn += 1
            yield str(number).encode()

    monkeypatch.setattr(Blobs, "put_bytes", put)
    oids = Blobs(lake.store, lake.settings.cache_dir, threads=2).put_many(items())
    assert oids == [hashlib.sha256(str(number).encode()).hexdigest() for number in range(400)]
    assert most <= 40, "all of a recording's frames were in memory at once"
