"""What no longer holds, and why that may be."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal

from pydantic import Field

from tasks.schemas import Frozen, Oid

Cause = Literal["changed", "missing", "signature", "moved", "code", "follows", "unanswered"]
CAUSES: dict[Cause, str] = {
    "changed": "bytes or values are not what the evidence says",
    "missing": "something that the evidence names is gone",
    "signature": "no key that is trusted here vouches for it: it was written or changed by somebody else",
    "moved": "the registry says something else than the evidence",
    "code": "other code than then gives another result: run the code that the bundle names before suspecting anybody",
    "follows": "cannot be checked, because of another finding",
    "unanswered": "cannot be checked: a service did not answer",
}
TOLERANCE = 1e-9
_SHOWN = 160


class Finding(Frozen):
    """One thing that no longer holds."""

    thing: str
    expected: str
    found: str
    cause: Cause
    bundles: tuple[int, ...] = Field(description="Numbers of the bundles that it touches.")


class Verification(Frozen):
    """What a verification looked at, and what it found."""

    line: str
    model_version: str | None
    holds: bool
    findings: tuple[Finding, ...]
    notes: tuple[str, ...]
    head: Oid | None = Field(description="The newest bundle: who wrote it down elsewhere can tell a rewritten chain.")
    number: int
    signed_by: dict[str, str] = Field(description="Fingerprint of a key → the evidence that it signed, '3-9'.")
    unsigned: int = Field(description="How many are from before signing.")
    checked: dict[str, int]
    seconds: float


class Findings:
    """Collects findings, notes and counts while checks go on."""

    def __init__(self) -> None:
        self.found: list[Finding] = []
        self.notes: list[str] = []
        self.checked: dict[str, int] = {}

    def add(self, thing: str, expected: Any, found: Any, cause: Cause, bundles: Iterable[int] = ()) -> None:
        """Something no longer holds. The same finding about other bundles joins the first."""
        touched = set(bundles)
        expected, found = short(expected), short(found)
        for place, known in enumerate(self.found):
            if (known.thing, known.expected, known.found, known.cause) == (thing, expected, found, cause):
                joined = tuple(sorted({*known.bundles, *touched}))
                self.found[place] = known.model_copy(update={"bundles": joined})
                return
        self.found.append(
            Finding(thing=thing, expected=expected, found=found, cause=cause, bundles=tuple(sorted(touched)))
        )

    def note(self, sentence: str) -> None:
        """Something worth knowing that breaks nothing."""
        if sentence not in self.notes:
            self.notes.append(sentence)

    def count(self, what: str, more: int = 1) -> None:
        """So many of these were looked at."""
        self.checked[what] = self.checked.get(what, 0) + more


def short(value: Any) -> str:
    """A value as a finding shows it."""
    text = str(value)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"


def differing(expected: Any, found: Any, where: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Where two JSON values differ: address, expected, found. Floats may differ by `TOLERANCE` (another processor)."""
    if isinstance(expected, Mapping) and isinstance(found, Mapping):
        for key in sorted({*expected, *found}):
            inside = f"{where}.{key}" if where else str(key)
            if key not in expected or key not in found:
                yield inside, expected.get(key, "nothing"), found.get(key, "nothing")
            else:
                yield from differing(expected[key], found[key], inside)
    elif isinstance(expected, list) and isinstance(found, list) and len(expected) == len(found):
        for place, (one, other) in enumerate(zip(expected, found, strict=True)):
            yield from differing(one, other, f"{where}[{place}]")
    elif not _same(expected, found):
        yield where, expected, found


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, float | int) and isinstance(other, float | int) and not isinstance(one, bool):
        return math.isclose(one, other, rel_tol=TOLERANCE, abs_tol=TOLERANCE) or (one != one and other != other)
    return type(one) is type(other) and bool(one == other)
