"""One installation as its steps use it: settings, lake, registry and lines, opened once at the edge and handed down.

    with open_session() as session:
        steps.check_news(session, "sperm-detector")

A command, an Airflow task or a page opens a session; steps, operations and experiments take it as their first argument
and read no settings themselves. What is not asked for is not opened: a night with nothing new never imports MLflow.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from tasks.config import Line, Settings, load_line, load_settings
from tasks.errors import ConfigError
from tasks.lake import Lake, open_lake

if TYPE_CHECKING:
    from types import TracebackType

    from tasks.registry import Registry


@dataclass(frozen=True)
class Session:
    """An installation in use.

    Attributes:
        settings: The installation's settings, read once.
    """

    settings: Settings

    @cached_property
    def lake(self) -> Lake:
        """The lake. It connects when something in it is first used."""
        return open_lake(self.settings)

    @cached_property
    def registry(self) -> Registry:
        """The model registry.

        Raises:
            ConfigError: MLflow has no URL.
        """
        from tasks.registry import open_registry

        return open_registry(self.settings)

    def line(self, name: str, changes: Mapping[str, Any] | None = None) -> Line:
        """Read a line's file, with the changes that a run makes to it.

        `from_search` among them stands for the values of a search's trial, and is noted in the line.

        Raises:
            ConfigError: There is no such line, or it refuses a change, or a change contradicts the trial's values.
            NotFound: There is no such trial.
        """
        line = load_line(name, self.settings.lines_dir)
        if changes and changes.get("from_search") is not None:
            return line.with_changes(self._with_trial(name, changes))
        return line.with_changes(changes) if changes else line

    def _with_trial(self, name: str, changes: Mapping[str, Any]) -> dict[str, Any]:
        """Changes, and the values of the trial that they name."""
        from tasks.lake.searches import finished_trial

        trial = changes["from_search"]
        values = finished_trial(self.lake, name, trial)["changes"]
        other = [key for key, value in values.items() if key in changes and changes[key] != value]
        if other:
            raise ConfigError(
                f"line {name}: {', '.join(other)}: set to something else than trial {trial} has",
                expected=", ".join(f"{key} {values[key]}" for key in other),
                found=", ".join(f"{key} {changes[key]}" for key in other),
                fix="leave them out, or leave from_search out and set all values yourself",
            )
        return {**values, **changes}

    def line_names(self) -> list[str]:
        """Names of all lines that have a file, right or wrong, in order."""
        return sorted(path.stem for path in self.settings.lines_dir.glob("*.yaml"))

    def close(self) -> None:
        """Close the connections that this session has opened. A closed session opens them again when it is used."""
        if "lake" in vars(self):
            self.lake.close()

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def open_session(settings: Settings | None = None) -> Session:
    """Open a session.

    Args:
        settings: Of which installation; default the one that the environment names.

    Raises:
        ConfigError: A setting is wrong.
    """
    return Session(settings or load_settings())
