"""Ultralytics' own training arguments and their rules, read from its files without importing it.

Importing ultralytics costs five seconds, and a recipe is checked in the first second of a night. So the list of
arguments is read from its `cfg/default.yaml`, and the rules (which are whole numbers, which lie in [0, 1], ...) from
the constants in its `cfg/__init__.py`, as literals. The worker hands the same values to ultralytics' own `get_cfg`,
which has the last word; a test holds the two to the same answers.
"""

from __future__ import annotations

import ast
import difflib
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from tasks.errors import ConfigError

RULES = (
    "CFG_FLOAT_KEYS", "CFG_FRACTION_KEYS", "CFG_INT_KEYS", "CFG_INT_MIN", "CFG_BOOL_KEYS", "CFG_STR_KEYS",
    "QUANTIZE_ALIASES",
)  # fmt: skip


@dataclass(frozen=True)
class ArgumentRules:
    """What ultralytics accepts: `defaults` for every argument, and the sets that state each one's type."""

    defaults: dict[str, Any]
    floats: frozenset[str]
    fractions: frozenset[str]
    integers: frozenset[str]
    least: dict[str, int]
    booleans: frozenset[str]
    strings: frozenset[str]
    precisions: frozenset[str]


@cache
def argument_rules() -> ArgumentRules:
    """The rules of the installed ultralytics.

    Raises:
        ConfigError: Ultralytics is not installed, or is a version laid out differently.
    """
    spec = importlib.util.find_spec("ultralytics")
    if spec is None or spec.origin is None:
        raise ConfigError("ultralytics is not installed", fix="install the locked environment: make install")
    cfg = Path(spec.origin).parent / "cfg"
    tree = ast.parse((cfg / "__init__.py").read_text())
    found = {
        target.id: _literal(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name) and target.id in RULES
    }
    if missing := [name for name in RULES if name not in found]:
        raise ConfigError(
            f"ultralytics' cfg/__init__.py no longer states {', '.join(missing)}", fix="use the locked version"
        )
    return ArgumentRules(
        defaults=yaml.safe_load((cfg / "default.yaml").read_text()),
        floats=frozenset(found["CFG_FLOAT_KEYS"]),
        fractions=frozenset(found["CFG_FRACTION_KEYS"]),
        integers=frozenset(found["CFG_INT_KEYS"]),
        least=dict(found["CFG_INT_MIN"]),
        booleans=frozenset(found["CFG_BOOL_KEYS"]),
        strings=frozenset(found["CFG_STR_KEYS"]),
        precisions=frozenset(found["QUANTIZE_ALIASES"]),
    )


def _literal(node: ast.expr) -> Any:
    """The value of a literal, or of `frozenset({...})` around one."""
    return ast.literal_eval(node.args[0] if isinstance(node, ast.Call) else node)


def check_argument(key: str, value: Any) -> Any:
    """The value as ultralytics wants it.

    Text that spells a number is read as one where a number is wanted: YAML reads `1e-3` as text.

    Raises:
        ValueError: Saying what would have been right. Unknown keys are not this function's concern.
    """
    rules = argument_rules()
    if value is None:
        typed = rules.floats | rules.fractions | rules.integers | rules.booleans | rules.strings
        typed |= {"amp", "scale", "compile"}
        if rules.defaults.get(key) is not None and key in typed and key != "auto_augment":
            raise ValueError("needs a value")
        return None
    for names, check in _checks(rules):
        if key in names:
            return check(key, value)
    return value


def _checks(rules: ArgumentRules) -> tuple[tuple[frozenset[str], Callable[[str, Any], Any]], ...]:
    special = frozenset({"scale", "fraction", "amp", "compile", "cache", "imgsz"})
    return (
        (frozenset({"scale"}), _scale),
        (frozenset({"fraction"}), _fraction_of_data),
        (frozenset({"amp"}), _amp),
        (frozenset({"quantize"}), _precision),
        (frozenset({"compile", "cache"}), _switch_or_name),
        (frozenset({"imgsz"}), _image_size),
        (rules.floats, lambda _, value: _number(value)),
        (rules.fractions - special, lambda _, value: _within_unit(value)),
        (rules.integers, _integer),
        (rules.booleans, _boolean),
        (rules.strings, _string),
    )


def _number(value: Any) -> float | int:
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            raise ValueError(f"expected a number, found {value!r}") from None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"expected a number, found {value!r}")
    return value


def _within_unit(value: Any) -> float | int:
    number = _number(value)
    if not 0 <= number <= 1:
        raise ValueError(f"expected a number from 0 to 1, found {value!r}")
    return number


def _integer(key: str, value: Any) -> int:
    number = _number(value)
    if number != int(number):
        raise ValueError(f"expected a whole number, found {value!r}")
    least = argument_rules().least.get(key)
    if least is not None and number < least:
        raise ValueError(f"expected at least {least}, found {value!r}")
    return int(number)


def _boolean(_: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"expected true or false, found {value!r}")
    return value


def _string(_: str, value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"expected text, found {value!r}")
    return value


def _scale(_: str, value: Any) -> Any:
    if isinstance(value, list | tuple):
        if len(value) != 2:
            raise ValueError(f"expected one number or two (least, most), found {value!r}")
        return [_number(part) for part in value]
    return _within_unit(value)


def _fraction_of_data(_: str, value: Any) -> float | int:
    number = _number(value)
    if not (0 < number <= 1 or number == int(number) > 1):
        raise ValueError(f"expected a ratio in (0, 1] or a count above 1, found {value!r}")
    return number if number <= 1 else int(number)


def _amp(_: str, value: Any) -> bool | str:
    if isinstance(value, bool):
        return value
    if str(value).lower() not in {"auto", "fp16", "bf16", "fp32"}:
        raise ValueError(f"expected auto, true, false, fp16, bf16 or fp32, found {value!r}")
    return str(value).lower()


def _precision(_: str, value: Any) -> int | str:
    known = argument_rules().precisions
    if isinstance(value, bool) or str(value).lower() not in known:
        raise ValueError(f"expected one of {', '.join(sorted(known))}, found {value!r}")
    return value if isinstance(value, int) else str(value).lower()


def _switch_or_name(_: str, value: Any) -> bool | str:
    if not isinstance(value, bool | str):
        raise ValueError(f"expected true, false or a mode's name, found {value!r}")
    return value


def _image_size(key: str, value: Any) -> int:
    size = _integer(key, value)
    if size < 32:
        raise ValueError(f"expected at least 32 pixels, found {value!r}")
    return size


def close_matches(name: str, known: set[str]) -> str:
    """ " (did you mean a, b?)" for a misspelt name, or nothing."""
    close = difflib.get_close_matches(name, sorted(known), n=2)
    return f" (did you mean {' or '.join(close)}?)" if close else ""
