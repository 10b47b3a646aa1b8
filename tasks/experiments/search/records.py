"""What a search leaves in the lake, and where. Documents are signed JSON; nothing is pickled.

    experiments/<line>/searches/<name>/search.json             what was asked: space, sampler, seed, metric, dataset
    experiments/<line>/searches/<name>/trials/<n>.plan.json    the values of trial n; written before it trains
    experiments/<line>/searches/<name>/trials/<n>.json         its result; written last: its existence means finished
    experiments/<line>/searches/<name>/trials/<n>.failed.json  why its last try failed
    experiments/<line>/searches/<name>/result.json             names the blob of the summary

A trial is named by its number, and its values are drawn once: whoever is asked for trial n again, after a kill or by
another machine, goes on with the same values, and a result is filed once.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any, Literal

from pydantic import Field

from tasks.errors import ConfigError, NotFound
from tasks.escaping import short_repr
from tasks.lake import Lake
from tasks.lake.conditional import Seen
from tasks.lake.searches import SEARCH, SEARCH_NAME, TRIAL, search_place, trial_place
from tasks.lake.signed import keep, kept
from tasks.schemas import Frozen, Oid
from tasks.training.trial_values import Sampler, Scalar

Pruner = Literal["median", "none"]


class Search(Frozen):
    """What was asked for."""

    line: str
    name: str
    of: str
    """The night's dataset version whose training and validation frames are used."""
    dataset_version: str
    """Those frames as a version of their own: the test split is not in it."""
    space: dict[str, Any]
    changes: dict[str, Any]
    """Of the line, for every trial."""
    metric: str
    where: str | None
    """A slice such as 'class.sperm'; None: overall."""
    better: Literal["higher", "lower"]
    sampler: Sampler
    pruner: Pruner
    seed: int
    trials: int
    at: datetime

    @property
    def numbers(self) -> tuple[int, ...]:
        """Its trials, counted from 1."""
        return tuple(range(1, self.trials + 1))

    def same_question(self, other: Search) -> list[str]:
        """Name the fields in which another search of this name asks for something else; more trials are welcome."""
        mine, theirs = (one.model_dump(mode="json", exclude={"trials", "at"}) for one in (self, other))
        return [key for key in mine if mine[key] != theirs[key]]


class TrialPlan(Frozen):
    """The values of a trial."""

    number: int = Field(ge=1)
    params: dict[str, Scalar]


class TrialResult(Frozen):
    """A trial that is finished."""

    number: int
    params: dict[str, Scalar]
    changes: dict[str, Any]
    """All that its line changed: the search's own and `params`; what a night is given to train the same."""
    state: Literal["complete", "pruned"]
    value: float | None
    """Of the search's metric, on the validation split; None: it was ended early."""
    metrics: dict[str, float | None]
    """Every metric of the kind, overall, on the validation split."""
    epochs: tuple[tuple[int, float], ...]
    """What each epoch reported: its number, and the score by which trials are ended early."""
    run_key: str
    weights_oid: Oid | None
    code_version: str
    seconds: float
    at: datetime


def named(name: str) -> str:
    """A search's name, if it may be one.

    Raises:
        ConfigError: It may not.
    """
    if not re.fullmatch(SEARCH_NAME, name):
        raise ConfigError(
            f"search {short_repr(name)}: cannot be called that",
            expected="lower-case letters, digits, - and _, at most 60",
        )
    return name


def folder(line: str, name: str) -> str:
    """Where a search's documents are."""
    return f"experiments/{line}/searches/{name}"


def find_search(lake: Lake, line: str, name: str) -> Search | None:
    """A search by name; None: there is none."""
    found = kept(lake, SEARCH, line, search_place(line, named(name)))
    return Search.model_validate(found) if found else None


def load_search(lake: Lake, line: str, name: str) -> Search:
    """A search by name.

    Raises:
        NotFound: There is none; naming those that there are.
    """
    found = find_search(lake, line, name)
    if found is None:
        known = ", ".join(search_names(lake, line)) or "none yet"
        raise NotFound(f"line {line}: no search {name!r}", expected=f"one of: {known}")
    return found


def search_names(lake: Lake, line: str) -> list[str]:
    """The names of a line's searches, in order."""
    keys = (info.key.split("/") for info in lake.store.list(f"experiments/{line}/searches/"))
    return sorted({parts[3] for parts in keys if parts[4:] == ["search.json"]})


def save_search(lake: Lake, search: Search, seen: Seen | None = None) -> None:
    """File what was asked, in the place of what was `seen`."""
    keep(lake, SEARCH, search.line, search_place(search.line, search.name), search.model_dump(mode="json"), seen)


def find_plan(lake: Lake, search: Search, number: int) -> TrialPlan | None:
    """The values of a trial; None: they were not drawn yet."""
    found = kept(lake, TRIAL, search.line, plan_place(search, number))
    return TrialPlan.model_validate(found) if found else None


def save_plan(lake: Lake, search: Search, plan: TrialPlan, seen: Seen | None = None) -> None:
    """File a trial's values, in the place of what was `seen`."""
    keep(lake, TRIAL, search.line, plan_place(search, plan.number), plan.model_dump(mode="json"), seen)


def plan_place(search: Search, number: int) -> str:
    """The key of a trial's values."""
    return _key(search, number, ".plan")


def find_result(lake: Lake, search: Search, number: int) -> TrialResult | None:
    """A finished trial; None: it is not finished."""
    found = kept(lake, TRIAL, search.line, _key(search, number))
    return TrialResult.model_validate(found) if found else None


def save_result(lake: Lake, search: Search, result: TrialResult) -> None:
    """File a finished trial: the last write of a trial."""
    keep(lake, TRIAL, search.line, _key(search, result.number), result.model_dump(mode="json"))
    lake.store.remove(_key(search, result.number, ".failed"))


def find_failure(lake: Lake, search: Search, number: int) -> dict[str, str] | None:
    """Why a trial's last try failed: `error`, `why`, `at`; None: it did not."""
    found: dict[str, str] | None = lake.store.get_json(_key(search, number, ".failed"))
    return found


def save_failure(lake: Lake, search: Search, number: int, failure: dict[str, str]) -> None:
    """File why a try failed."""
    lake.store.put_json(_key(search, number, ".failed"), failure)


def _key(search: Search, number: int, what: str = "") -> str:
    return trial_place(search.line, search.name, number, what)
