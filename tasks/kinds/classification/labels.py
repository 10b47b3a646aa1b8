"""Classes in Label Studio: one choice for the whole picture, or several that each hold or do not.

In a multi-label line a class that is not ticked is not there. Two sorts of answers stand behind those of the classes,
so that nothing is left unsaid: `NONE` (no class is there), and for each class `<class>: not judged`, the missing value.
They are choices like the others, in the same region: whoever opens a labeling task and presses *Update* sends them
again.
"""

from __future__ import annotations

from collections.abc import Sequence

from tasks.config import Line
from tasks.errors import ConfigError
from tasks.escaping import marked
from tasks.kind import Control, Object, Region, UnfitRegion
from tasks.kinds.classification.objects import is_present
from tasks.labeling.convert import LONGEST_LABEL, value_of

CONTROL = Control(
    "Choices",
    "Choice",
    {
        "choice": "single",
        "showInline": "true",
        "required": "true",
        "requiredMessage": "Choose a class; skip a picture that shows none of them.",
    },
    fixed=frozenset({"choice"}),
)
"""Of a line with one class a picture."""

NONE = "none of these"
_UNJUDGED = ": not judged"


def control(line: Line) -> Control:
    """The control of a line.

    Raises:
        ConfigError: A class is called like an answer that is not one of a class.
    """
    if not line.multi_label:
        return CONTROL
    answers = {NONE: {"hotkey": "0"} if _is_free("0", line) else {}, **{unjudged(name): {} for name in line.classes}}
    if taken := sorted(answers.keys() & line.classes.keys()):
        raise ConfigError(f"line {line.line}: the class {taken[0]!r} is the name of another answer", fix="rename it")
    asked = {"choice": "multiple", "requiredMessage": f"Tick what the picture shows, or {NONE!r}."}
    return Control(CONTROL.tag, CONTROL.entry, {**CONTROL.attributes, **asked}, CONTROL.fixed, answers)


def unjudged(name: str) -> str:
    """The answer that nobody judged a class."""
    return f"{name}{_UNJUDGED}"


def read_region(region: Region, width_px: int, height_px: int) -> list[Object]:
    """Each choice that is ticked, in the project's words."""
    chosen = value_of(region, "choices").get("choices")
    if not isinstance(chosen, list) or not all(isinstance(each, str) for each in chosen):
        raise UnfitRegion("has a choice that is not text")
    return [{"label": marked(each, LONGEST_LABEL)} for each in chosen]


def complete(objects: Sequence[Object], line: Line) -> list[Object]:
    """What all ticked choices say together.

    Args:
        objects: As `read_region` gives them. None: nothing is ticked.
        line: Whose annotation it is.

    Raises:
        UnfitRegion: They contradict each other.
    """
    ticked = list(dict.fromkeys(each["label"] for each in objects))
    if not line.multi_label:
        return [{"label": each} for each in ticked]
    answers = control(line).answers
    shown = [each for each in ticked if each not in answers]
    if NONE in ticked and shown:
        raise UnfitRegion(f"says both {NONE!r} and {shown[0]!r}")
    if both := [name for name in shown if unjudged(name) in ticked]:
        raise UnfitRegion(f"says both {both[0]!r} and {unjudged(both[0])!r}")
    judged = [name for name in line.classes if unjudged(name) not in ticked]
    given_up = [name for name in shown if name not in line.classes and not name.endswith(_UNJUDGED)]
    return [{"label": name, "present": name in shown} for name in judged] + [
        {"label": name, "present": True}
        for name in given_up  # validation judges them
    ]


def spell_out(objects: Sequence[Object], line: Line) -> list[Object]:
    """Objects as choices, all of which are to be ticked: the reverse of `complete`."""
    if not line.multi_label:
        return [{"label": each["label"]} for each in objects]
    shown = [each["label"] for each in objects if is_present(each)]
    judged = {each["label"] for each in objects}
    missing = [unjudged(name) for name in line.classes if name not in judged]
    return [{"label": each} for each in [*(shown or [NONE]), *missing]]


def write_objects(objects: Sequence[Object], width_px: int, height_px: int) -> list[Region]:
    """Choices as one region."""
    return [{"type": "choices", "value": {"choices": [each["label"] for each in objects]}}] if objects else []


def _is_free(hotkey: str, line: Line) -> bool:
    return all(spec.hotkey != hotkey for spec in line.classes.values())
