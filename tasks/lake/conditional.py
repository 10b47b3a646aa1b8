"""Replacing a document only where it is still as its writer saw it, for documents in S3 that decide something.

    seen = look(lake, key)                   # first, under the document's lock
    value = ...                              # then read, and decide
    put_as_seen(lake, key, data, JSON, seen)

On one machine the lock alone keeps writers apart, and nothing is asked of S3 (`look` gives None). With many machines
(`NIGHTSCOPE_LOCKS__URI`) a writer may lose its lock between its last look at it and the arrival of what it wrote. S3
servers that have conditional writes (AWS, MinIO, Ceph, SeaweedFS; not rclone) then refuse it; which sort a server is
of is tried out once in each process, because some ignore the condition in silence. Without them the document is looked
at again just before, and what is left is the time that a request takes, for which the lock rests (`locks.grace_s`).
"""

from __future__ import annotations

import logging
import uuid
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from tasks.errors import NotFound, StorageUnavailable
from tasks.lake.object_store import ObjectStore, Overtaken, Unsupported

if TYPE_CHECKING:
    from tasks.lake.lake import Lake

log = logging.getLogger(__name__)

_PROBE = "probes/conditional-writes-"
_known: dict[str, bool] = {}


class Seen(NamedTuple):
    """What was there.

    Attributes:
        etag: The server's change marker; None: nothing was there.
    """

    etag: str | None


NOTHING = Seen(None)


def look(lake: Lake, key: str) -> Seen | None:
    """What is under a key now, to be handed to `put_as_seen`; None where nothing but the lock is needed."""
    if not lake.settings.locks.uri.get_secret_value():
        return None
    info = lake.store.head(key)
    return Seen(info.etag) if info else NOTHING


def put_as_seen(lake: Lake, key: str, data: bytes, content_type: str, seen: Seen | None) -> None:
    """Store a document where nobody has changed it since `look`.

    Raises:
        StorageUnavailable: Somebody has; nothing was written.
    """
    if seen is None or not lake.settings.locks.uri.get_secret_value():
        lake.store.put_bytes(key, data, content_type)
        return
    try:
        if has_conditional_writes(lake.store):
            lake.store.put_if(key, data, content_type, seen.etag)
        elif look(lake, key) == seen:
            lake.store.put_bytes(key, data, content_type)
        else:
            raise Overtaken(key)
    except Overtaken as error:
        with suppress(NotFound):
            if lake.store.get_bytes(key) == data:  # our own first try, whose answer was lost
                return
        raise StorageUnavailable(
            f"s3://{lake.store.bucket}/{key}: was changed by another process meanwhile",
            expected="what was there when this began",
            found="another document, which stays",
            fix="run this again: it goes on from what is there now",
        ) from error


def has_conditional_writes(store: ObjectStore) -> bool:
    """Whether the server refuses to write where a condition does not hold; tried out once in each process."""
    if store.place not in _known:
        _known[store.place] = _try_out(store)
        log.info(
            "%s: %s", store.place,
            "conditional writes are in use" if _known[store.place]
            else "the S3 server has no conditional writes; documents rest on their locks alone",
        )  # fmt: skip
    return _known[store.place]


def _try_out(store: ObjectStore) -> bool:
    key = f"{_PROBE}{uuid.uuid4().hex}"
    try:
        store.put_if(key, b"1", "text/plain", None)
        return _is_refused(store, key, None) and _is_refused(store, key, "0" * 32)
    except Unsupported:
        return False
    finally:
        store.remove(key)


def _is_refused(store: ObjectStore, key: str, etag: str | None) -> bool:
    try:
        store.put_if(key, b"2", "text/plain", etag)
    except Overtaken:
        return True
    return False
