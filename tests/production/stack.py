"""All of compose.yaml at once: started in the order that it asks for, each one healthy by its own check."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tests.production.compose import Service, services
from tests.production.container import Container
from tests.production.wires import Wires

CLIENT = "client"
"""A machine outside: it is on the network of the proxy only."""


class Production:
    """An installation in production.

    Args:
        folder: Its volumes, logs and roots.
        env: Its environment file.
        mark: Begins the names of its network namespaces.
        scale: Service -> instances, where there is more than one.
    """

    def __init__(self, folder: Path, env: Path, mark: str, scale: Mapping[str, int]) -> None:
        table = services(env)
        instances = {
            f"{name}-{number}" if name in scale else name: service
            for name, service in table.items()
            for number in range(1, scale.get(name, 1) + 1)
        }
        networks = {name: tuple(each.raw.get("networks") or ()) for name, each in instances.items()}
        self.wires = Wires(mark, networks | {CLIENT: ("edge",)})
        hosts = "".join(self._line(name, each, "inside") for name, each in instances.items() if networks[name])
        self.outside = self._line("proxy", instances["proxy"], "edge")
        self.containers = {
            name: Container(name, each, self.wires.namespace(name), f"127.0.0.1 localhost\n{hosts}", folder)
            for name, each in instances.items()
        }
        self._ready = {name: threading.Event() for name in self.containers}
        self._given_up = threading.Event()

    def _line(self, name: str, service: Service, network: str) -> str:
        aliases = [alias for each in service.raw["networks"].values() for alias in (each or {}).get("aliases", ())]
        return f"{self.wires.address(name, network)} {' '.join([name, *aliases])}\n"

    def up(self, patience_s: float) -> dict[str, float]:
        """Start all of it; service -> seconds until it was healthy or done.

        Raises:
            AssertionError: One did not become healthy; its last words.
        """
        self.wires.lay()
        begun = time.monotonic()
        took: dict[str, float] = {}

        def one(name: str) -> None:
            try:
                self._bring_up(self.containers[name], begun + patience_s)
                took[name] = time.monotonic() - begun
            except BaseException as error:
                faults.append(error)
                self._given_up.set()

        faults: list[BaseException] = []
        with ThreadPoolExecutor(len(self.containers)) as pool:
            pool.map(one, self.containers)
        if faults:
            raise faults[0]
        return took

    def _bring_up(self, container: Container, deadline: float) -> None:
        for needed in container.service.depends_on:
            self._until(self._ready[needed].is_set, deadline + 60, f"{container.name}: {needed}")
        container.start()
        if container.service.once:
            self._until(lambda: container.ended() is not None, deadline, container.name)
            assert container.ended() == 0, last_words(container)
        else:
            self._until(lambda: self._is_healthy(container), deadline, container.name, every_s=1)
        self._ready[container.name].set()

    def _is_healthy(self, container: Container) -> bool:
        assert container.ended() is None, f"{container.name} ended with {container.ended()}: {last_words(container)}"
        return container.healthy()

    def _until(self, what: Callable[[], Any], deadline: float, name: str, every_s: float = 0.1) -> None:
        while not what():
            assert not self._given_up.is_set(), f"{name}: another one failed"
            container = self.containers.get(name)
            assert time.monotonic() < deadline, f"{name}: in vain; {last_words(container) if container else ''}"
            time.sleep(every_s)

    def down(self) -> None:
        """End all of it."""
        self._given_up.set()
        for container in self.containers.values():
            container.end()
        self.wires.cut()


def last_words(container: Container, lines: int = 25) -> str:
    """The end of a container's log."""
    text = container.log.read_text(errors="replace") if container.log.exists() else ""
    return f"{container.name}:\n" + "\n".join(text.splitlines()[-lines:])
