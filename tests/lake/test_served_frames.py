"""What annotators see is copied from the lake, frame by frame; one that is damaged keeps no other waiting."""

from __future__ import annotations

from tasks.errors import IntegrityError, NotFound
from tasks.lake import Lake


def test_frames_are_published_once_and_the_rest_is_said(lake: Lake) -> None:
    good, png, damaged = (lake.blobs.put_bytes(data) for data in (b"a frame", b"\x89PNG a frame", b"another"))
    lake.store.put_bytes(lake.blobs.key(damaged), b"bytes that are not its own")
    faults = lake.frames.publish([good, png, good, damaged, "0" * 64])
    assert {oid: type(fault) for oid, fault in faults.items()} == {damaged: IntegrityError, "0" * 64: NotFound}
    assert {oid for oid, _ in lake.frames.published()} == {good, png}
    assert lake.frames.store.get_bytes(lake.frames.key(good)) == b"a frame"
    assert lake.frames.publish([good, png]) == {}
    lake.frames.withdraw(good)
    assert {oid for oid, _ in lake.frames.published()} == {png}
