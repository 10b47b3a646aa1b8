"""The installation that is looked at: opened as far as a check asks for it, and never changed."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, SecretStr

from tasks.config import S3Settings, Settings, load_settings, state_folder
from tasks.escaping import one_line
from tasks.lake import ObjectStore
from tasks.session import Session
from tasks.stack import ports, settings_file
from tasks.stack.layout import Layout
from tasks.stack.s3 import SERVICES as S3_SERVICES
from tasks.stack.secrets import Secrets

if TYPE_CHECKING:
    from tasks.stack.status import ServiceStatus

_LONGEST = 600
_SHORTEST_SECRET = 6


@dataclass(frozen=True)
class Patient:
    """One installation, as the checks see it.

    Attributes:
        state_dir: Its state folder.
        environ: The environment that names its settings.
    """

    state_dir: Path
    environ: Mapping[str, str]

    @classmethod
    def here(cls) -> Patient:
        """The installation that this process's environment names."""
        return cls(state_folder(), os.environ)

    @cached_property
    def settings(self) -> Settings:
        """Its settings.

        Raises:
            ConfigError: They are wrong.
        """
        return load_settings(self.state_dir)

    @cached_property
    def session(self) -> Session:
        """A session of it."""
        return Session(self.settings)

    @cached_property
    def layout(self) -> Layout:
        """Paths of its embedded stack."""
        return Layout.at(self.state_dir)

    @cached_property
    def external(self) -> dict[str, str]:
        """Unit → URL of the services that are not ours to start."""
        return settings_file.external(self.layout, self.environ)

    @cached_property
    def services(self) -> list[ServiceStatus]:
        """Every service, as it was when first asked."""
        from tasks.stack.status import status

        return status(self.state_dir, environ=self.environ)

    def embedded(self, unit: str) -> bool:
        """Whether a unit was started here by `nightscope up`, now or once."""
        return unit not in self.external and unit in ports.remembered(self.layout)

    @cached_property
    def secrets(self) -> Secrets | None:
        """The stack's secrets; None where there never was a stack. They are read, never made."""
        if not self.layout.secrets_file.exists():
            return None
        kept = json.loads(self.layout.secrets_file.read_text())
        return Secrets(**{entry.name: str(kept[entry.name]) for entry in fields(Secrets)})

    @cached_property
    def s3(self) -> S3Settings:
        """The S3 settings with the keys of all purposes that this machine holds, those of the stack's file included."""
        if not self.embedded("s3") or self.secrets is None:
            return self.settings.s3
        known = ports.remembered(self.layout)
        served = {name: known[name] for name in S3_SERVICES if name in known}
        return settings_file.with_embedded(self.settings, served, self.secrets).s3

    @cached_property
    def catalog_file(self) -> Path | None:
        """Where the catalog is, of one that is a SQLite file."""
        uri = self.settings.iceberg_uri
        return Path(uri.removeprefix("sqlite:///").partition("?")[0]) if uri.startswith("sqlite:///") else None

    @property
    def has_tables(self) -> bool:
        """Whether tables can be asked for: a SQLite file that is not there would be made by asking."""
        return bool(self.settings.s3.endpoint) and (self.catalog_file is None or self.catalog_file.exists())

    def store(self, bucket: str, by: S3Settings) -> ObjectStore:
        """A bucket, by one purpose's key."""
        return ObjectStore(by, bucket, connections=2)

    def close(self) -> None:
        """Close what was opened."""
        if "session" in vars(self):
            self.session.close()

    def without_secrets(self, text: str) -> str:
        """A text of one line and bounded length in which no secret of this installation stands."""
        for secret in self._known_secrets:
            text = text.replace(secret, "***")
        text = one_line(" ".join(text.split()))
        return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."

    @cached_property
    def _known_secrets(self) -> list[str]:
        """All secrets, longest first: one may hold another."""
        found = {value for key, value in self.environ.items() if _names_a_secret(key)}
        try:
            found |= set(_secrets_in(self.settings))
            found.add(self.settings.iceberg_uri.partition("://")[2].rpartition("@")[0].partition(":")[2])
        except Exception:  # settings that do not parse are a finding of their own
            found |= _values_of(self.layout.settings_env)
        try:
            kept = self.secrets
            found |= set() if kept is None else {str(getattr(kept, entry.name)) for entry in fields(kept)}
        except (OSError, ValueError, KeyError, TypeError):
            pass
        return sorted((each for each in found if len(each) >= _SHORTEST_SECRET), key=len, reverse=True)


def _names_a_secret(key: str) -> bool:
    return key.upper().startswith("NIGHTSCOPE_") and key.upper().endswith(("KEY", "PASSWORD", "TOKEN", "URI"))


def _values_of(path: Path) -> set[str]:
    try:
        pairs = [line.partition("=") for line in path.read_text().splitlines()]
    except (OSError, UnicodeDecodeError):
        return set()
    return {value.strip().strip("'\"") for key, _, value in pairs if _names_a_secret(key.strip())}


def _secrets_in(value: Any) -> Iterator[str]:
    if isinstance(value, SecretStr):
        yield value.get_secret_value()
    elif isinstance(value, BaseModel):
        for name in type(value).model_fields:
            yield from _secrets_in(getattr(value, name))
    elif isinstance(value, Mapping):
        for each in value.values():
            yield from _secrets_in(each)
