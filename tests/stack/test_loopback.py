"""A proxy in the environment does not stand between us and our own services."""

from __future__ import annotations

import http.server
import threading

import httpx
import pytest

from tasks.stack.loopback import past_proxies


def test_what_the_user_excepts_stays_excepted() -> None:
    assert past_proxies({"NO_PROXY": "s3.lab.example, .lan"})["no_proxy"] == "s3.lab.example,.lan,127.0.0.1,localhost"
    assert (
        past_proxies(past_proxies({}))
        == past_proxies({})
        == dict.fromkeys(("NO_PROXY", "no_proxy"), "127.0.0.1,localhost")
    )


def test_a_dead_proxy_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    server = http.server.HTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}"
    try:
        with pytest.raises(httpx.ConnectError):
            httpx.get(url)
        for name, value in past_proxies({}).items():
            monkeypatch.setenv(name, value)
        assert httpx.get(url).status_code == 501
    finally:
        server.shutdown()
        server.server_close()
