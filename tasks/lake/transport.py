"""How we speak HTTP to S3: bounded retries, timeouts, and repairs of XML answers."""

from __future__ import annotations

import re
from typing import Any

import urllib3
from urllib3.response import BaseHTTPResponse

# Three more tries within about two seconds: bridges a hiccup. A server that is really down is Airflow's to retry.
_RETRY = urllib3.Retry(
    total=3, backoff_factor=0.2, status_forcelist=(500, 502, 503, 504), raise_on_status=False, redirect=0
)


class _Pool(urllib3.PoolManager):
    """Repairs XML answers. rclone labels errors `text/xml`, and the minio client reads only `application/xml`; and one
    key with a control character in it makes a listing, or an error that names it, no XML at all."""

    def clear(self) -> None:
        """Close all connections now; urllib3 alone would leave that to the garbage collector."""
        for key in self.pools.keys():  # noqa: SIM118 - the container refuses to be iterated
            if (connections := self.pools.get(key)) is not None:
                connections.close()
        super().clear()

    def urlopen(self, method: str, url: str, *args: Any, **kw: Any) -> BaseHTTPResponse:
        response = super().urlopen(method, url, *args, **kw)
        kind = response.headers.get("content-type", "")
        if not kind.startswith(("text/xml", "application/xml")):
            return response
        response.headers["content-type"] = "application/xml"
        if response.status < 400 and not kw.get("preload_content", True):  # an object, on its way: nobody's to change
            return response
        data = response.data
        clean = _as_xml(data)
        if clean == data:
            return response
        return urllib3.HTTPResponse(clean, response.headers, response.status, reason=response.reason)


_REFERENCE = re.compile(r"&#(x[0-9A-Fa-f]+|[0-9]+);")
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def _as_xml(data: bytes) -> bytes:
    """An XML document without what XML cannot hold: each such character becomes U+FFFD."""

    def referred(match: re.Match[str]) -> str:
        number = int(match[1][1:], 16) if match[1][0] == "x" else int(match[1])
        return match[0] if number < 0x110000 and not _NOT_XML.match(chr(number)) else "\ufffd"

    return _NOT_XML.sub("\ufffd", _REFERENCE.sub(referred, data.decode("utf-8", "replace"))).encode()


def pool(connections: int) -> urllib3.PoolManager:
    """A connection pool for one S3 client.

    Args:
        connections: How many threads may talk at once without waiting.
    """
    return _Pool(
        maxsize=connections,
        retries=_RETRY,
        timeout=urllib3.Timeout(connect=5, read=120),
    )
