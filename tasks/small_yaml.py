"""Reading YAML that people write: a line, a recipe, a value. Small, flat and without tricks, or refused.

YAML lets ten lines mean a billion (aliases of aliases), and a page of brackets exhaust the stack of whoever reads it.
Nothing that a person writes here needs either, so both are refused before anything is built.
"""

from __future__ import annotations

from typing import Any

import yaml

from tasks.errors import ConfigError

MOST_CHARACTERS = 256 * 1024
MOST_DEPTH = 20
FIX = "write it out, without & and *, in a few levels"


def read_yaml(text: str, source: str) -> Any:
    """What a short YAML text says: dicts, lists and scalars.

    Args:
        text: The document.
        source: For messages: where it comes from.

    Raises:
        ConfigError: It is no YAML, too long, too deep, or uses aliases.
    """
    if len(text) > MOST_CHARACTERS:
        wanted = f"{MOST_CHARACTERS} characters at most"
        raise ConfigError(f"{source}: is too long", expected=wanted, found=str(len(text)))
    try:
        _look_through(text, source)
        return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, OverflowError, RecursionError) as error:
        raise ConfigError(f"{source}: is not YAML: {' '.join(str(error).split())[:500]}") from error


def _look_through(text: str, source: str) -> None:
    """Go through what the parser sees, one thing after the other: nothing grows meanwhile."""
    depth = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        where = f"line {event.start_mark.line + 1}" if event.start_mark else "somewhere"
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise ConfigError(f"{source}: {where} uses an alias or an anchor", expected="plain values", fix=FIX)
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > MOST_DEPTH:
                wanted = f"{MOST_DEPTH} levels at most"
                raise ConfigError(f"{source}: {where} is nested too deep", expected=wanted, fix=FIX)
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
