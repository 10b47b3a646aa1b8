"""Names the objects that a decision rests on, each by its hash, and writes down what is not there or cannot be read."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from tasks.errors import DataError
from tasks.evidence.bundle import Named
from tasks.lake import Lake
from tasks.schemas import Oid

DAMAGED = (DataError, ValueError, LookupError, TypeError, AttributeError)
"""What reading a damaged object raises: it is gone, is not what its hash says, is no JSON, or is another JSON."""

_OID = re.compile(r"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])")


class Collector:
    """Names objects, each once, and remembers what was not there.

    Args:
        lake: Where they are.
    """

    def __init__(self, lake: Lake) -> None:
        self.lake = lake
        self.missing: list[str] = []
        self._wanted: dict[str, tuple[str, Oid]] = {}

    @contextmanager
    def part(self, what: str) -> Iterator[None]:
        """Read a part of the past. Where that fails it is written down as missing, with the reason; nobody is stopped.

        Raises:
            TransportError: Nobody answered: try again.
        """
        try:
            yield
        except DAMAGED as error:
            self.missing.append(f"{what} ({str(error) or repr(error)})")

    def blob(self, what: str, oid: object) -> None:
        """A blob; None is written down as missing."""
        if oid is None:
            self.missing.append(what)
        else:
            self._wanted.setdefault(self.lake.blobs.key(str(oid)), (what, str(oid)))

    def thing(self, what: str, key: str, sha256: Oid) -> None:
        """Another object of the lake's bucket, and what was read of it or its name says."""
        self._wanted.setdefault(key, (what, sha256))

    def named_by(self, what: str, content: Any, beside: Iterable[Oid]) -> None:
        """Every other blob that a JSON value names, `beside` the ones that are named elsewhere."""
        known = {*beside, *(key.rpartition("/")[2] for key in self._wanted)}
        found = sorted(set(_OID.findall(json.dumps(content))) - known)
        with ThreadPoolExecutor(self.lake.settings.workers * 4) as threads:
            for oid, there in zip(found, threads.map(self.lake.blobs.exists, found), strict=True):
                if there:
                    self.blob(f"named by {what}", oid)

    def named(self) -> tuple[Named, ...]:
        """All of them, with hash and size."""
        with ThreadPoolExecutor(self.lake.settings.workers * 4) as threads:
            found = list(threads.map(self._look, self._wanted.items()))
        return tuple(sorted((one for one in found if one is not None), key=lambda one: one.key))

    def _look(self, item: tuple[str, tuple[str, Oid]]) -> Named | None:
        key, (what, oid) = item
        info = self.lake.store.head(key)
        if info is None:
            self.missing.append(what)
            return None
        return Named(what=what, key=key, sha256=oid, size_bytes=info.size_bytes)
