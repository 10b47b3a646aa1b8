"""How we speak HTTP to S3: bounded retries, timeouts, and one repair of rclone's error answers."""

from __future__ import annotations

from typing import Any

import urllib3
from urllib3.response import BaseHTTPResponse

# Three more tries within about two seconds: bridges a hiccup. A server that is really down is Airflow's to retry.
_RETRY = urllib3.Retry(
    total=3, backoff_factor=0.2, status_forcelist=(500, 502, 503, 504), raise_on_status=False, redirect=0
)


class _Pool(urllib3.PoolManager):
    """Relabels error bodies: rclone says `text/xml`, and the minio client reads only `application/xml`."""

    def urlopen(self, method: str, url: str, *args: Any, **kw: Any) -> BaseHTTPResponse:
        response = super().urlopen(method, url, *args, **kw)
        if response.headers.get("content-type", "").startswith("text/xml"):
            response.headers["content-type"] = "application/xml"
        return response


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
