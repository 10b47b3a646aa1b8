"""One bucket of an S3 server: the only module that knows the `minio` client.

We use the plain S3 subset (put, get, head, list, delete, presigned GET), so that any S3 will do: MinIO, AWS, Ceph,
SeaweedFS or the embedded `rclone serve s3`. User metadata, tags and versions are never relied on; conditional writes
(`put_if`) only where they were tried out (`conditional.py`).
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO
from urllib.parse import urlsplit
from xml.etree.ElementTree import ParseError

from tasks.config import S3Settings
from tasks.errors import ConfigError, DataError, IntegrityError, NotFound, StorageUnavailable
from tasks.schemas import Oid, canonical_json

if TYPE_CHECKING:
    from minio import Minio
    from minio.error import S3Error
    from urllib3 import PoolManager

OCTETS = "application/octet-stream"
JSON = "application/json"
NAMED_BY_CONTENT = ("blobs/", "tables/")
"""Keys that are never written twice with other bytes; a table's files count once its catalog names them."""
_PART_BYTES = 16 * 2**20
_CHUNK_BYTES = 2**20
_MISSING = {"NoSuchKey", "NoSuchObject", "ResourceNotFound"}
_OVERTAKEN = {"PreconditionFailed", "ConditionalRequestConflict"}
_UNSUPPORTED = {"NotImplemented", "InvalidArgument", "InvalidRequest", "MethodNotAllowed"}
_REFUSED = {"AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "AuthorizationHeaderMalformed"}


class Overtaken(Exception):
    """A condition of a write did not hold. Never leaves the lake."""


class Unsupported(Exception):
    """The server does not know conditional writes. Never leaves the lake."""


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """What S3 says of an object without reading it.

    Attributes:
        etag: The server's change marker, without quotes. Not a content hash: multipart uploads differ.
        modified_at: UTC, whole seconds: `head` could not say more.
    """

    key: str
    size_bytes: int
    etag: str
    modified_at: datetime


class ObjectStore:
    """One bucket. Opening it does nothing on the network; it can be shared between threads, and
    used in forked children.

    Every method raises `StorageUnavailable` when the server does not answer after a short bounded retry, or answers
    with a server error, and `ConfigError` when it refuses our keys.

    Args:
        s3: Endpoint and keys.
        bucket: Name of the bucket; made on first write if it is not there.
        connections: How many threads may talk at once without waiting for each other.
        guard: Is asked before something is written or removed, at the last moment, and raises where it must not be.
            Not for keys below `NAMED_BY_CONTENT`: what is written there harms nobody.
    """

    def __init__(
        self, s3: S3Settings, bucket: str, *, connections: int = 10, guard: Callable[[], None] = lambda: None
    ) -> None:
        self.bucket = bucket
        self._guard = guard
        self._s3 = s3
        self._connections = connections
        self._connected: tuple[int, Minio, PoolManager] | None = None

    @property
    def _client(self) -> Minio:
        if self._connected is None or self._connected[0] != os.getpid():  # a forked child needs its own connections
            self._connected = (os.getpid(), *self._connect())
        return self._connected[1]

    def close(self) -> None:
        """Close the connections to the server; the next use opens them again."""
        if self._connected is not None and self._connected[0] == os.getpid():  # a parent's are the parent's to close
            self._connected[2].clear()
        self._connected = None

    def _connect(self) -> tuple[Minio, PoolManager]:
        from minio import Minio

        from tasks.lake.transport import pool

        url = urlsplit(self._s3.endpoint)
        if url.scheme not in {"http", "https"} or not url.netloc:
            raise ConfigError(
                "settings: NIGHTSCOPE_S3__ENDPOINT is not the URL of an S3 server",
                expected="e.g. http://127.0.0.1:9000",
                found=repr(self._s3.endpoint),
                fix="start the embedded stack (nightscope up), or name your own S3 server",
            )
        connections = pool(self._connections)
        client = Minio(
            url.netloc,
            access_key=self._s3.access_key or None,
            secret_key=self._s3.secret_key.get_secret_value() or None,
            secure=url.scheme == "https",
            region=self._s3.region,  # named, so that the client does not ask for it: rclone has no answer
            http_client=connections,
        )
        return client, connections

    def exists(self) -> bool:
        """Whether the bucket is there."""
        with self._speaking():
            return bool(self._client.bucket_exists(self.bucket))

    def ensure_bucket(self) -> None:
        """Make the bucket unless it is there. Safe to call from several processes at once."""
        with self._speaking():
            if self._client.bucket_exists(self.bucket):
                return
            try:
                self._client.make_bucket(self.bucket)
            except _s3_error() as error:
                if error.code not in {"BucketAlreadyOwnedByYou", "BucketAlreadyExists"}:
                    raise

    def put_bytes(self, key: str, data: bytes, content_type: str = OCTETS) -> None:
        """Store an object, replacing what had this key. Visible all at once or not at all."""

        def put() -> None:
            # A single PUT whatever the size: atomic everywhere, and the bytes are in memory anyway.
            part = max(len(data), _PART_BYTES)
            self._client.put_object(self.bucket, key, BytesIO(data), len(data), content_type, part_size=part)

        self._write(key, put)

    def put_if(self, key: str, data: bytes, content_type: str, etag: str | None) -> None:
        """Store an object where the condition holds: if the server has conditional writes, and does not ignore them.

        Args:
            key: Its name.
            data: Its bytes.
            content_type: What they are.
            etag: Of the object that it replaces; None: there must be none.

        Raises:
            Overtaken: The condition does not hold.
            Unsupported: The server refuses to know of conditions.
        """
        from minio.error import S3Error

        condition = {"If-None-Match": "*"} if etag is None else {"If-Match": f'"{etag}"'}

        def put() -> None:
            try:  # the client's own `put_object` makes user metadata of headers that it does not know
                self._client._put_object(self.bucket, key, data, {"Content-Type": content_type, **condition})
            except S3Error as error:
                if error.code in _OVERTAKEN | _MISSING:  # missing: what was to be replaced is gone
                    raise Overtaken(key) from error
                if error.code in _UNSUPPORTED:
                    raise Unsupported(error.code) from error
                raise

        self._write(key, put)

    @property
    def place(self) -> str:
        """Endpoint and bucket, for messages."""
        return f"{self._s3.endpoint} s3://{self.bucket}"

    def put_file(self, key: str, path: Path, content_type: str = OCTETS, *, sha256: Oid | None = None) -> None:
        """Store a file, holding at most one part of 16 MiB in memory. Visible all at once or not at all.

        Args:
            key: Where.
            path: The file.
            content_type: As HTTP names it.
            sha256: Of its bytes, as they were read before: another file than that never becomes visible.

        Raises:
            IntegrityError: The file has other bytes than `sha256` by now.
        """

        def put() -> None:
            with path.open("rb") as file:
                self._client.put_object(
                    self.bucket,
                    key,
                    _Checked(file, sha256, path) if sha256 else file,
                    os.fstat(file.fileno()).st_size,
                    content_type,
                    part_size=_PART_BYTES,
                    num_parallel_uploads=1,  # more would hold more parts in memory
                )

        self._write(key, put)

    def get_bytes(self, key: str) -> bytes:
        """The object's bytes.

        Raises:
            NotFound: No such key.
        """
        return b"".join(self._stream(key))

    def put_json(self, key: str, value: Any) -> None:
        """Store a JSON document, with its keys in order, so that the same value is the same bytes."""
        self.put_bytes(key, canonical_json(value).encode(), JSON)

    def get_json(self, key: str) -> Any:
        """What a small JSON object says; None where there is no such key.

        Raises:
            IntegrityError: There is one, and it is no JSON: never the same as none.
        """
        try:
            data = self.get_bytes(key)
        except NotFound:
            return None
        try:
            return json.loads(data)
        except (ValueError, RecursionError) as error:
            raise IntegrityError(f"{self._where(key)}: was damaged", expected="JSON", found=str(error)[:200]) from error

    def first_bytes(self, key: str, count: int) -> bytes:
        """The first bytes of an object; no more than these are asked for, and fewer come where it is shorter.

        The object must not be empty: S3 refuses any range of nothing.

        Raises:
            NotFound: No such key.
        """
        _check(key)
        with self._speaking(key):
            response: Any = self._client.get_object(self.bucket, key, 0, count)
            try:
                return bytes(response.read(count))
            finally:
                response.close()
                response.release_conn()

    def rehash(self, key: str) -> tuple[str, int]:
        """Hex sha256 of the bytes that the server holds now, and how many they are; nothing is kept.

        Raises:
            NotFound: No such key.
        """
        digest, size_bytes = hashlib.sha256(), 0
        for chunk in self._stream(key):
            digest.update(chunk)
            size_bytes += len(chunk)
        return digest.hexdigest(), size_bytes

    def get_file(self, key: str, path: Path) -> None:
        """Download to `path`: written beside it, then renamed, so that `path` is never half a file.

        Raises:
            NotFound: No such key.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:40]}.", suffix=".part")
        part = Path(name)
        try:
            with os.fdopen(handle, "wb") as file:
                for chunk in self._stream(key):
                    file.write(chunk)
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)

    def _stream(self, key: str) -> Generator[bytes]:
        _check(key)
        with self._speaking(key):
            response: Any = self._client.get_object(self.bucket, key)
            try:
                length, seen = response.headers.get("content-length"), 0
                for chunk in response.stream(_CHUNK_BYTES):
                    seen += len(chunk)
                    yield chunk
                if length is not None and seen != int(length):
                    raise StorageUnavailable(
                        f"{self._where(key)}: the answer broke off", expected=f"{length} bytes", found=str(seen)
                    )
            finally:
                response.close()
                response.release_conn()

    def head(self, key: str) -> ObjectInfo | None:
        """What S3 says of the object, or None if there is none."""
        _check(key)
        try:
            with self._speaking(key):
                return _info(self._client.stat_object(self.bucket, key))
        except NotFound:
            return None

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """All objects whose key begins with `prefix`, in key order; none if the bucket is not there yet."""
        try:
            with self._speaking(prefix):
                for entry in self._client.list_objects(self.bucket, prefix=prefix or None, recursive=True):
                    if not entry.is_dir:
                        yield _info(entry)
        except NotFound:
            return

    def remove(self, key: str) -> None:
        """Delete an object; one that is not there is fine."""
        _check(key)
        self._guard()
        try:
            with self._speaking(key):
                self._client.remove_object(self.bucket, key)
        except NotFound:
            return

    def _write(self, key: str, put: Any) -> None:
        _check(key)
        if not key.startswith(NAMED_BY_CONTENT):
            self._guard()
        with self._speaking(key):
            try:
                put()
            except _s3_error() as error:
                if error.code != "NoSuchBucket":
                    raise
                self.ensure_bucket()
                put()

    def _where(self, key: str | None) -> str:
        return f"{self.place}/{key or ''}"

    @contextmanager
    def _speaking(self, key: str | None = None) -> Iterator[None]:
        """Translate whatever the client raises into our own errors, naming endpoint, bucket and key."""
        from minio.error import InvalidResponseError, MinioException, S3Error, ServerError
        from urllib3.exceptions import HTTPError

        # ParseError: an answer that is no XML.
        try:
            yield
        except S3Error as error:
            raise self._translated(error, key) from error
        except (HTTPError, InvalidResponseError, ServerError, ParseError, UnicodeDecodeError) as error:
            raise StorageUnavailable(
                f"{self._where(key)}: the S3 server did not answer properly ({type(error).__name__}: {error})",
                fix="is it up? (nightscope status)",
            ) from error
        except (MinioException, ValueError) as error:  # ValueError: the client refuses the key itself
            raise DataError(f"{self._where(key)}: {error}") from error

    def _translated(self, error: S3Error, key: str | None) -> Exception:
        code = error.code or "unknown"
        if code in _MISSING or code == "NoSuchBucket":
            return NotFound(f"{self._where(key)}: {'no such bucket' if code == 'NoSuchBucket' else 'no such object'}")
        if code in _REFUSED:
            return ConfigError(
                f"{self._where(key)}: the S3 server refuses our keys ({code})",
                fix="check NIGHTSCOPE_S3__ACCESS_KEY and NIGHTSCOPE_S3__SECRET_KEY",
            )
        if code in {"BadDigest", "XAmzContentSHA256Mismatch"}:
            return IntegrityError(f"{self._where(key)}: bytes changed on the way ({code})")
        return StorageUnavailable(f"{self._where(key)}: {code}: {error.message}")


class _Checked:
    """A file whose last bytes are only given when all of them were the expected ones."""

    def __init__(self, file: BinaryIO, sha256: Oid, path: Path) -> None:
        self._file, self._expected, self._path = file, sha256, path
        self._left, self._digest = os.fstat(file.fileno()).st_size, hashlib.sha256()

    def read(self, count: int = -1) -> bytes:
        """The next bytes.

        Raises:
            IntegrityError: They would be the last, and these are not the bytes that were expected.
        """
        data = self._file.read(count)
        self._digest.update(data)
        self._left -= len(data)
        if (self._left <= 0 or not data) and self._digest.hexdigest() != self._expected:
            raise IntegrityError(f"{self._path}: changed while it was read", fix="add it again when it is finished")
        return data


def _s3_error() -> type[S3Error]:
    from minio.error import S3Error as error

    kind: type[S3Error] = error
    return kind


def _info(entry: Any) -> ObjectInfo:
    modified: datetime = entry.last_modified or datetime.fromtimestamp(0, UTC)
    modified = modified.astimezone(UTC).replace(microsecond=0)
    return ObjectInfo(entry.object_name, int(entry.size or 0), (entry.etag or "").strip('"'), modified)


def _check(key: str) -> None:
    """Keys become paths on servers that store files, so a key must stay inside its bucket."""
    if not key or key.startswith("/") or any(part in {"", ".", ".."} for part in key.split("/")):
        raise DataError(f"object key {key!r}", expected="a relative path without empty, '.' or '..' parts")
