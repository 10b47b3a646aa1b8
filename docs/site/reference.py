"""Pages and tables that are written from the code while the site is built, so that they cannot go stale.

A line's keys and the settings come from the JSON schema of their pydantic models, the commands from the command line
itself, the recipes and the DAGs from their own files, a detector's values from what recipes are checked by.
"""

from __future__ import annotations

import ast
import html
import inspect
from collections.abc import Iterable, Iterator
from typing import Any

import yaml
from pydantic import BaseModel
from typer.main import get_command

from tasks.cli import app
from tasks.config import HOME, Line, Settings
from tasks.kinds.detection.augmentation import AUGMENTATIONS
from tasks.kinds.detection.knobs import knobs
from tasks.training.microscope import EFFECTS, MICROSCOPE, STRENGTH

Schema = dict[str, Any]

GROUP: Any = get_command(app)

KEYS = {
    "Line.line": "Its name, which is also the file's name: lower-case letters, digits and hyphens.",
    "Line.title": "For people; Airflow shows it.",
    "Line.classes": "What there is to find. A list of names will do; `name: {...}` says more of a class.",
    "Line.recordings": "Which recordings it learns from.",
    "Line.annotators": "Whose labels count where several people labelled one frame.",
    "Line.frames": "Which frames annotators see.",
    "Line.splits": "How recordings are shared out between train, val and test.",
    "Line.minimums": "What must be there before it trains.",
    "Line.plausible": "How large a labelled object can be; a label beyond that goes to quarantine.",
    "Line.recipe": "How it trains.",
    "Line.evaluation": "How models are compared.",
    "Line.gates": "What a challenger must pass, one condition each.",
    "ClassSpec.hotkey": "The annotators' key for it, one character.",
    "ClassSpec.color": 'As in HTML, e.g. `"#1f9d6b"`.',
    "RecordingFilter.studies": "Learn from these studies only; empty: from all.",
    "RecordingFilter.except_studies": "Never learn from these.",
    "FrameSampling.max_per_recording": "At most this many frames of one recording.",
    "SplitPlan.group": "What stays together in one split.",
    "SplitPlan.train": "Share of the groups to train on.",
    "SplitPlan.val": "Share to choose the checkpoint by.",
    "SplitPlan.test": "Share to judge by. The three sum to 1.",
    "Minimums.recordings": "Labelled recordings.",
    "Plausibility.min_side_px": "Shortest side, in pixels.",
    "RecipeChoice.name": "A shipped recipe's name.",
    "RecipeChoice.seed": "Everything random in the training follows from it.",
    "EvaluationPlan.resamples": "Of the bootstrap.",
    "EvaluationPlan.seed": "Of the bootstrap.",
    "Gate.metric": "What is measured; an unknown one is refused, with the list of those there are.",
    "Gate.class": "Short for `slice: class.<name>`.",
    "Gate.at_least": "The value must reach this.",
    "Gate.at_most": "The value must not exceed this.",
    "Gate.not_worse_by": "Non-inferiority: surely not worse than the champion by more than this.",
    "Gate.confidence": "How sure a comparison must be.",
    "ApprovalPlan.required": "Whether the night waits for a person.",
}
"""What keys mean whose field has no description in `tasks/config.py`, by model and key."""


def line_keys() -> str:
    """Every key of a line's YAML: one table for the file, one for each part."""
    return "\n\n".join(f"{_heading(name)}{_table(name, schema)}" for name, schema in _parts(Line))


def key_texts() -> dict[str, str]:
    """'Model.key' -> what the site says it means; empty where nobody has said."""
    return {
        f"{name}.{key}": _meaning(name, key, value)
        for name, schema in _parts(Line)
        for key, value in schema["properties"].items()
    }


def settings_table() -> str:
    """Every setting by the name of its environment variable."""
    return _rows("setting", "default", "what", rows=_settings("NIGHTSCOPE_", Settings.model_json_schema()))


def commands() -> str:
    """Every command with its arguments and options, as `--help` has them."""
    return "\n\n".join(_command(path, command) for path, command in walk(GROUP, "nightscope"))


def recipes() -> str:
    """The recipes that ship."""
    found = sorted((HOME / "tasks").glob("**/recipes/*.yaml"))
    rows = [(path.stem, yaml.safe_load(path.read_text())) for path in found]
    cells = [(f"`{name}`", recipe.get("kind", ""), recipe.get("description", "")) for name, recipe in rows]
    return _rows("recipe", "kind", "what", rows=cells)


def detector_values() -> str:
    """Every value of a detector's training."""
    rows = [(f"`{each.name}`", each.range, each.unit, each.default, each.meaning) for each in knobs()]
    return _rows("value", "range", "unit", "default", "what", rows=rows)


def detector_augmentations() -> str:
    """What the words for augmentation stand for."""
    keys = list(dict.fromkeys(key for values in AUGMENTATIONS.values() for key in values))
    rows = [(f"`{key}`", *(_plain(values.get(key)) for values in AUGMENTATIONS.values())) for key in keys]
    return _rows("value", *(f"`{word}`" for word in AUGMENTATIONS), rows=rows)


def detector_microscope() -> str:
    """What may happen to a frame under a microscope, and how often the words have it happen."""
    meanings = {**EFFECTS, STRENGTH: "how strong all of it is"}
    rows = [
        (f"`{name}`", meaning, *(f"{values.get(name, 0):g}" for values in MICROSCOPE.values()))
        for name, meaning in meanings.items()
    ]
    return _rows("value", "what", *(f"`{word}`" for word in MICROSCOPE), rows=rows)


def _plain(value: Any) -> str:
    return "as the recipe has it" if value is None else str(value).lower() if isinstance(value, bool) else f"{value:g}"


def dags() -> str:
    """What each DAG's own page in Airflow says."""
    texts = [ast.get_docstring(ast.parse(path.read_text())) or "" for path in sorted((HOME / "dags").glob("*.py"))]
    return "\n\n".join(f"#{text}" for text in texts if text.startswith("# "))


TABLES = {
    "line-keys": line_keys, "settings": settings_table, "commands": commands, "recipes": recipes, "dags": dags,
    "detector-values": detector_values, "detector-augmentations": detector_augmentations,
    "detector-microscope": detector_microscope,
}  # fmt: skip


def _parts(model: type[BaseModel]) -> list[tuple[str, Schema]]:
    """A model's schema and those of the parts it names, each once, in the order of its keys."""
    whole = model.model_json_schema(by_alias=True)
    parts = [(model.__name__, whole)]
    for _, schema in parts:
        for value in schema.get("properties", {}).values():
            for name in _references(value):
                if name not in dict(parts) and "properties" in whole["$defs"][name]:
                    parts.append((name, whole["$defs"][name]))
    return parts


def _references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if "$ref" in value:
            yield value["$ref"].rpartition("/")[2]
        for part in value.values():
            yield from _references(part)
    elif isinstance(value, list):
        for part in value:
            yield from _references(part)


def _heading(name: str) -> str:
    if name == "Line":
        return ""
    key = next(k for _, schema in _parts(Line) for k, v in schema["properties"].items() if name in _references(v))
    return f"### `{key}` {{ #{name.lower()} }}\n\n"


def _table(name: str, schema: Schema) -> str:
    required = schema.get("required", [])
    rows = [
        (f"`{key}`", _kind(value), "*required*" if key in required else _default(value), _meaning(name, key, value))
        for key, value in schema["properties"].items()
    ]
    intro = "" if name == "Line" else f"{_prose(schema.get('description', ''))}\n\n"
    return intro + _rows("key", "value", "default", "what", rows=rows)


def _meaning(model: str, key: str, value: Schema) -> str:
    return str(value.get("description") or KEYS.get(f"{model}.{key}", ""))


def _kind(value: Schema) -> str:
    """What may stand there, in words."""
    if "anyOf" in value:
        return " or ".join(_kind(part) for part in value["anyOf"] if part.get("type") != "null")
    if "allOf" in value:
        return _kind(value["allOf"][0])
    if "$ref" in value:
        name = value["$ref"].rpartition("/")[2]
        return f"[keys](#{name.lower()})"
    if "const" in value:
        return f"`{value['const']}`"
    if "enum" in value:
        return ", ".join(f"`{each}`" for each in value["enum"])
    if value.get("type") == "array":
        return f"list of {_kind(value.get('items', {})) or 'values'}"
    if value.get("type") == "object":
        of = value.get("additionalProperties")
        return f"name: {_kind(of)}" if isinstance(of, dict) else "keys"
    words = {"string": "text", "integer": "whole number", "number": "number", "boolean": "true or false"}
    return " ".join([words.get(value.get("type", ""), "text"), *_bounds(value)])


def _bounds(value: Schema) -> list[str]:
    names = {"minimum": "from", "exclusiveMinimum": "above", "maximum": "to", "exclusiveMaximum": "below"}
    return [f"{word} {value[key]:g}" for key, word in names.items() if key in value and abs(value[key]) < 2**31 - 1]


def _default(value: Schema) -> str:
    found = value.get("default")
    if found in (None, "", [], {}) or isinstance(found, dict):
        return ""
    text = str(found).lower() if isinstance(found, bool) else str(found)
    return f"`{text.replace(str(HOME), '<checkout>')}`"


def _settings(prefix: str, schema: Schema, whole: Schema | None = None) -> Iterator[tuple[str, str, str]]:
    whole = whole or schema
    for key, value in schema["properties"].items():
        parts = [name for name in _references(value) if "properties" in whole["$defs"][name]]
        if parts:
            yield from _settings(f"{prefix}{key.upper()}__", whole["$defs"][parts[0]], whole)
        else:
            yield f"`{prefix}{key.upper()}`", _default(value), value.get("description", "")


def walk(command: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Every command below a group with its path, the groups themselves left out."""
    for name, child in getattr(command, "commands", {}).items():
        if hasattr(child, "commands"):
            yield from walk(child, f"{path} {name}")
        else:
            yield f"{path} {name}", child


def _command(path: str, command: Any) -> str:
    arguments = [_metavar(param) for param in command.params if param.param_type_name == "argument"]
    options = [
        (", ".join(f"`{name}`" for name in (*param.opts, *param.secondary_opts)), str(param.help or ""))
        for param in command.params
        if param.param_type_name == "option" and "--help" not in param.opts
    ]
    usage = " ".join([path, *arguments, *(["[OPTIONS]"] if options else [])])
    parts = [f"## {path} {{ #{path.replace(' ', '-')} }}", f"```text\n{usage}\n```", _prose(command.help or "")]
    return "\n\n".join([*parts, *([_rows("option", "what", rows=options)] if options else [])])


def _metavar(param: Any) -> str:
    name = param.metavar or param.name.upper()
    return name if param.required else f"[{name}]"


def _rows(*head: str, rows: Iterable[Iterable[str]]) -> str:
    """A Markdown table; what stands outside of code is escaped."""
    lines = [f"| {' | '.join(head)} |", f"|{' --- |' * len(head)}"]
    return "\n".join(lines + [f"| {' | '.join(_cell(cell) for cell in row)} |" for row in rows])


def _cell(text: str) -> str:
    return _prose(" ".join(text.split())).replace("|", "\\|")


def _prose(text: str) -> str:
    """Text with its HTML escaped, but not within backticks, where Markdown does so itself."""
    parts = inspect.cleandoc(text).split("`")
    return "`".join(part if number % 2 else html.escape(part, quote=False) for number, part in enumerate(parts))
