"""What a check of the doctor answers with."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from tasks.schemas import Frozen

if TYPE_CHECKING:
    from tasks.operations.doctor.patient import Patient

State = Literal["ok", "warning", "wrong", "unknown"]


class Finding(Frozen):
    """One thing that was looked at, and how it is."""

    check: str = Field(default="", description="Name of the check, e.g. s3.keys.")
    state: State = Field(description="`unknown`: it could not be looked at, and `found` has the reason.")
    found: str = Field(description="What there is, in a sentence.")
    fix: str | None = Field(default=None, description="What to do about it.")


class Checkup(Frozen):
    """Everything that the doctor looked at."""

    healthy: bool = Field(description="Nothing is wrong, and everything could be looked at.")
    findings: tuple[Finding, ...]
    seconds: float


Look = Callable[["Patient"], Iterator[Finding]]
"""Yields what it finds; nothing where there is nothing of that sort in this installation."""


@dataclass(frozen=True)
class Check:
    """One thing to look at.

    Attributes:
        name: Place and thing, with a dot between them.
        look: What looks.
        about: What for, in a sentence.
        everywhere: Whether a machine that only brings recordings has it, too.
    """

    name: str
    look: Look
    about: str
    everywhere: bool = False


CHECKS: list[Check] = []
"""All checks."""

PLACES = (
    "settings", "state", "programs", "services", "s3", "catalog", "signing", "evidence", "locks", "devices", "lines",
    "airflow", "mlflow", "label-studio", "nights",
)  # fmt: skip
"""What stands before the dot of a check's name, in the order in which they are made: first what others rest on."""


def in_order() -> list[Check]:
    """All checks, in the order in which they are made."""
    return sorted(CHECKS, key=lambda each: PLACES.index(each.name.partition(".")[0]))


def check(name: str, *, everywhere: bool = False) -> Callable[[Look], Look]:
    """Enter a function into `CHECKS`; the first line of its docstring is what the check is for."""

    def enter(look: Look) -> Look:
        CHECKS.append(Check(name, look, (look.__doc__ or "").strip().partition("\n")[0], everywhere))
        return look

    return enter


def ok(found: str) -> Finding:
    """It is as it should be."""
    return Finding(state="ok", found=found)


def warning(found: str, fix: str) -> Finding:
    """It works, and somebody should know."""
    return Finding(state="warning", found=found, fix=fix)


def wrong(found: str, fix: str) -> Finding:
    """It does not work, or does not keep what is promised."""
    return Finding(state="wrong", found=found, fix=fix)


def unknown(found: str, fix: str | None = None) -> Finding:
    """It could not be looked at."""
    return Finding(state="unknown", found=found, fix=fix)
