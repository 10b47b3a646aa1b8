"""Where a hyperparameter search files its trials, for who trains with the values of one: a night, and its evidence.

`tasks/experiments/search/` writes them. A trial is named '<search>#<number>'; its finished record never changes.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from tasks.errors import ConfigError, NotFound
from tasks.escaping import short_repr
from tasks.lake.signed import kept

if TYPE_CHECKING:
    from tasks.lake.lake import Lake

SEARCH, TRIAL = "search", "trial"
"""Kinds of signed documents."""
SEARCH_NAME = r"[a-z0-9][a-z0-9_-]{0,59}"
_TRIAL_NAME = re.compile(rf"({SEARCH_NAME})#([0-9]{{1,4}})")


def trial_name(search: str, number: int) -> str:
    """'lr#12'."""
    return f"{search}#{number}"


def search_place(line: str, search: str) -> str:
    """The key of what a search was asked."""
    return f"experiments/{line}/searches/{search}/search.json"


def trial_place(line: str, search: str, number: int, what: str = "") -> str:
    """The key of a trial's document in the lake's bucket."""
    return f"experiments/{line}/searches/{search}/trials/{number:04d}{what}.json"


def place_of(line: str, name: str) -> str:
    """The key of the finished trial that a name such as 'lr#12' means.

    Raises:
        ConfigError: It is no such name.
    """
    found = _TRIAL_NAME.fullmatch(name) if isinstance(name, str) else None
    if found is None:
        raise ConfigError(
            f"line {line}: from_search {short_repr(name)}", expected="a search and the number of its trial, e.g. lr#12"
        )
    return trial_place(line, found[1], int(found[2]))


def asked(lake: Lake, line: str, name: str) -> dict[str, Any]:
    """What the search of a trial was asked: its `metric`, `of` (dataset version), `trials`, ...

    Raises:
        ConfigError: The name is not that of a trial.
        NotFound: There is no such search.
    """
    place_of(line, name)
    search = name.partition("#")[0]
    found: dict[str, Any] | None = kept(lake, SEARCH, line, search_place(line, search))
    if found is None:
        raise NotFound(f"line {line}: no search {search!r}", fix=f"nightscope search {line} --list")
    return found


def finished_trial(lake: Lake, line: str, name: str) -> dict[str, Any]:
    """The signed record of a finished trial: `changes` is what a night must be given to train the same.

    Raises:
        ConfigError: The name is not that of a trial.
        NotFound: There is no such trial, it has not finished, or it was ended early.
    """
    found: dict[str, Any] | None = kept(lake, TRIAL, line, place_of(line, name))
    if found is None or found["state"] != "complete":
        raise NotFound(
            f"line {line}: no trial {name!r} that finished",
            found="none" if found is None else "it was ended early",
            fix=f"nightscope search {line} --show",
        )
    return found
