"""PyIceberg's files in our own object stores, rather than through a second S3 client.

Same retries, same errors, one request per file, and nothing half-written on the server when a writer dies.
"""

from __future__ import annotations

import logging
import os
from functools import cache
from io import BytesIO
from types import TracebackType

from pydantic import SecretStr
from pyiceberg.io import FileIO, InputFile, OutputFile
from pyiceberg.typedef import EMPTY_DICT, Properties

from tasks.config import S3Settings
from tasks.errors import NotFound
from tasks.lake.object_store import ObjectStore

logging.getLogger("pyiceberg.io").setLevel(logging.WARNING)  # or each table that is opened is a line in a step's log

_PROPERTIES = tuple(f"nightscope.s3.{name}" for name in ("endpoint", "region", "access-key", "secret-key"))
"""Not PyIceberg's own names (`s3.endpoint`), which a REST catalog may override: the lake's bucket is ours to open."""


def store_properties(s3: S3Settings) -> dict[str, str]:
    """The catalog properties by which `StoreFileIO` finds the lake's S3 server."""
    values = (s3.endpoint, s3.region, s3.access_key, s3.secret_key.get_secret_value())
    return dict(zip(_PROPERTIES, values, strict=True))


@cache
def _store(pid: int, endpoint: str, region: str, access_key: str, secret_key: str, bucket: str) -> ObjectStore:
    """One store, and so one set of connections, per process and bucket."""
    s3 = S3Settings(endpoint=endpoint, region=region, access_key=access_key, secret_key=SecretStr(secret_key))
    return ObjectStore(s3, bucket)


class StoreFileIO(FileIO):  # type: ignore[misc]
    """PyIceberg's files in our object stores. PyIceberg makes it from the catalog's properties."""

    def __init__(self, properties: Properties = EMPTY_DICT) -> None:
        super().__init__(properties)

    def _locate(self, location: str) -> tuple[ObjectStore, str]:
        bucket, _, key = location.removeprefix("s3://").partition("/")
        return _store(os.getpid(), *(str(self.properties[name]) for name in _PROPERTIES), bucket), key

    def new_input(self, location: str) -> StoredInput:
        """A file to read."""
        return StoredInput(location, *self._locate(location))

    def new_output(self, location: str) -> StoredOutput:
        """A file to write."""
        return StoredOutput(location, *self._locate(location))

    def delete(self, location: str | InputFile | OutputFile) -> None:
        """Remove a file; one that is not there is fine."""
        store, key = self._locate(location if isinstance(location, str) else location.location)
        store.remove(key)


class _Stored:
    """What input and output files have in common."""

    def __init__(self, location: str, store: ObjectStore, key: str) -> None:
        super().__init__(location)  # type: ignore[call-arg]
        self.store, self.key = store, key

    def __len__(self) -> int:
        info = self.store.head(self.key)
        if info is None:
            raise NotFound(f"table file s3://{self.store.bucket}/{self.key}: no such object")
        return info.size_bytes

    def exists(self) -> bool:
        """Whether the file is there."""
        return self.store.head(self.key) is not None


class StoredInput(_Stored, InputFile):  # type: ignore[misc]
    """A file of a table, read in one request: they are small, and Parquet would make many."""

    def open(self, seekable: bool = True) -> BytesIO:
        """The file's bytes."""
        return BytesIO(self.store.get_bytes(self.key))


class StoredOutput(_Stored, OutputFile):  # type: ignore[misc]
    """A file of a table, written in one request when it is closed."""

    def create(self, overwrite: bool = False) -> _Upload:
        """A stream to write to. Names hold a UUID, so nothing is ever overwritten."""
        return _Upload(self.store, self.key)

    def to_input_file(self) -> StoredInput:
        """The same file, to read."""
        return StoredInput(self.location, self.store, self.key)


class _Upload(BytesIO):
    """Bytes that go to the store when closed, unless the writing failed."""

    def __init__(self, store: ObjectStore, key: str) -> None:
        super().__init__()
        self._store, self._key, self._failed = store, key, False

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        self._failed = kind is not None
        self.close()

    def close(self) -> None:
        if not self.closed:
            data = self.getvalue()
            super().close()
            if not self._failed:
                self._store.put_bytes(self._key, data)
