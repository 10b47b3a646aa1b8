"""Network namespaces, one for each container, on bridges of their own: nothing of it touches this machine's network.

The bridges lie in a namespace, too; addresses are 10.89.0.0/24 (`inside`) and 10.89.1.0/24 (`edge`). Needs root.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterable, Mapping

BRIDGES = {"inside": "10.89.0", "edge": "10.89.1"}


def run(*words: str) -> None:
    """A command that must succeed."""
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(words)}: {done.stderr.strip()}"


class Wires:
    """The namespaces of one installation.

    Args:
        mark: Begins their names.
        members: Container -> the networks that it is on.
    """

    def __init__(self, mark: str, members: Mapping[str, Iterable[str]]) -> None:
        self._mark = mark
        self._members = {name: tuple(networks) for name, networks in members.items()}
        self._made: list[str] = []

    def address(self, name: str, network: str = "inside") -> str:
        """Where a container is, in a network that it is on."""
        return f"{BRIDGES[network]}.{list(self._members).index(name) + 2}"

    def namespace(self, name: str) -> str:
        """What `ip netns` calls a container's network."""
        return f"{self._mark}-{name}"

    def lay(self) -> None:
        """Make all of them."""
        self._add("switch")
        for network in BRIDGES:
            self._ip("switch", "link", "add", network, "type", "bridge")
            self._ip("switch", "link", "set", network, "up")
        for name, networks in self._members.items():
            self._add(name)
            for network in networks:
                self._connect(name, network)

    def _add(self, name: str) -> None:
        run("ip", "netns", "add", self.namespace(name))
        self._made.append(name)
        self._ip(name, "link", "set", "lo", "up")

    def _connect(self, name: str, network: str) -> None:
        end = f"{network[0]}{list(self._members).index(name)}"
        peer = ("peer", "name", network, "netns", self.namespace(name))
        self._ip("switch", "link", "add", end, "type", "veth", *peer)
        self._ip("switch", "link", "set", end, "master", network, "up")
        self._ip(name, "address", "add", f"{self.address(name, network)}/24", "dev", network)
        self._ip(name, "link", "set", network, "up")

    def _ip(self, name: str, *words: str) -> None:
        run("ip", "-n", self.namespace(name), *words)

    def cut(self) -> None:
        """Remove all of them; who is still in one loses its network."""
        for name in reversed(self._made):
            subprocess.run(["ip", "netns", "delete", self.namespace(name)], capture_output=True, check=False)
        self._made.clear()
