"""What is on this machine is reached directly, whatever proxy the environment names."""

from __future__ import annotations

from collections.abc import Mapping

HOSTS = ("127.0.0.1", "localhost")


def past_proxies(environ: Mapping[str, str]) -> dict[str, str]:
    """`NO_PROXY` and `no_proxy` as they should be: what `environ` says, and this machine."""
    said = environ.get("no_proxy") or environ.get("NO_PROXY") or ""
    hosts = ",".join(dict.fromkeys([*filter(None, (host.strip() for host in said.split(","))), *HOSTS]))
    return {"NO_PROXY": hosts, "no_proxy": hosts}
