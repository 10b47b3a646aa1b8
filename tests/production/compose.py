"""docker/compose.yaml as docker-compose itself reads it, with an environment file that `make-env.sh` made."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tasks.config import HOME

DOCKER = HOME / "docker"
DOMAIN = "night.test"


def tool(name: str) -> str:
    """A program of our environment."""
    return str(Path(sys.executable).parent / name)


def make_env(folder: Path, changes: dict[str, str] | None = None) -> Path:
    """An environment file (0600) of a fresh installation, and its certificates in `folder`/certs.

    Args:
        folder: Where.
        changes: Lines that a person would change.
    """
    environment = os.environ | {"CERTS_DIR": str(folder / "certs")}
    made = subprocess.run([DOCKER / "make-env.sh", DOMAIN], env=environment, capture_output=True, text=True, check=True)
    path = folder / ".env"
    path.touch(mode=0o600)
    own = {"CERTS_DIR": str(folder / "certs")} | (changes or {})
    path.write_text(made.stdout + "".join(f"{name}={value}\n" for name, value in own.items()))
    return path


def parse_env(text: str) -> dict[str, str]:
    """The variables that an environment file sets."""
    pairs = (line.partition("=") for line in text.splitlines() if "=" in line and not line.startswith("#"))
    return {name: value for name, _, value in pairs}


def config(env: Path, *files: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    """`docker-compose config`, which needs no daemon."""
    named = [part for file in files or ("compose.yaml",) for part in ("--file", str(DOCKER / file))]
    command = [tool("docker-compose"), "--env-file", str(env), *named, "config", "--format", "json"]
    bare = {"PATH": os.environ["PATH"], "HOME": str(env.parent)}
    return subprocess.run(command, env=bare, capture_output=True, text=True, check=check)


@dataclass(frozen=True)
class Service:
    """A service of compose.yaml, with every variable filled in.

    Attributes:
        name: Its name.
        command: Entrypoint and command, None for the part that the image brings.
        environment: Of its processes.
        raw: All of it, as docker-compose has it.
    """

    name: str
    entrypoint: tuple[str, ...] | None
    command: tuple[str, ...] | None
    environment: dict[str, str] = field(repr=False)
    raw: dict[str, Any] = field(repr=False)

    @property
    def image(self) -> str:
        """Its image, without the tag."""
        return str(self.raw["image"]).partition(":")[0]

    @property
    def once(self) -> bool:
        """Whether it does its work and ends."""
        return self.raw["restart"] == "no"

    @property
    def depends_on(self) -> dict[str, str]:
        """Service -> the condition that it must meet first."""
        return {name: each["condition"] for name, each in self.raw.get("depends_on", {}).items()}

    @property
    def health(self) -> tuple[str, ...] | None:
        """The command of its health check."""
        check = self.raw.get("healthcheck")
        if not check:
            return None
        kind, *words = _plain(check["test"])
        return ("/bin/sh", "-c", words[0]) if kind == "CMD-SHELL" else tuple(words)


def services(env: Path, *files: str) -> dict[str, Service]:
    """The services, by name."""
    found = json.loads(config(env, *files).stdout)["services"]
    return {name: _service(name, raw) for name, raw in found.items()}


def _service(name: str, raw: dict[str, Any]) -> Service:
    words = {key: tuple(_plain(raw[key])) if raw.get(key) else None for key in ("entrypoint", "command")}
    environment = {key: _plain(value or "") for key, value in (raw.get("environment") or {}).items()}
    return Service(name, words["entrypoint"], words["command"], environment, raw)


def _plain(value: Any) -> Any:
    """What docker-compose escapes so that it can be read again."""
    return [_plain(each) for each in value] if isinstance(value, list) else str(value).replace("$$", "$")
