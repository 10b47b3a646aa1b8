"""The bearer token of a line's service: made on the first start, readable by its owner alone, never printed."""

from __future__ import annotations

import secrets
from pathlib import Path

from tasks.config import Settings
from tasks.errors import ConfigError
from tasks.lake.locks import machine_lock
from tasks.private_files import write_private

_LEAST = 20


def token_file(settings: Settings, line: str) -> Path:
    """Where the token of a line's service lies. Who removes it gets another one with the next start."""
    return settings.state_dir.resolve() / "serve" / f"{line}.token"


def load_or_create(settings: Settings, line: str) -> str:
    """The token of a line's service; made on the first call, the same ever after.

    Raises:
        ConfigError: The file is there, but is not readable, is open to others' eyes, or holds no token.
    """
    path = token_file(settings, line)
    with machine_lock(settings, f"serve-token-{line}"):
        if not path.exists():
            write_private(path, secrets.token_urlsafe(32) + "\n")
        try:
            token = path.read_text(encoding="ascii").strip()
            mode = path.stat().st_mode & 0o777
        except (OSError, ValueError) as error:
            raise ConfigError(
                f"{path}: cannot be read ({type(error).__name__})", fix="remove it: the next start makes another"
            ) from None
    if mode & 0o077:
        raise ConfigError(
            f"{path}: others can read the token",
            expected="mode 600",
            found=f"{mode:o}",
            fix="remove it: the next start makes another",
        )
    if len(token) < _LEAST or not token.isprintable() or " " in token:
        raise ConfigError(f"{path}: holds no token", expected=f"one word of at least {_LEAST} characters")
    return token
