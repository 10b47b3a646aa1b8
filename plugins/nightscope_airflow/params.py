"""The trigger form of a line's night, and what an operator's answers mean to the steps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow.sdk import Param, get_current_context

from tasks.config import Gate, Line
from tasks.errors import ConfigError

TRAINING, RUN, GATES = "Training", "This run", "Gates"


def form(line: Line, recipes: list[str]) -> dict[str, Param]:
    """The typed fields of the trigger form. An empty field means: as the line's file says."""
    fields = {
        "recipe": Param(
            line.recipe.name, type="string", enum=recipes, section=TRAINING,
            description="How the challenger is trained: 'from-scratch' needs nothing, 'from-coco' a weights file.",
        ),
        "epochs": _optional("integer", 1, 10_000, "Passes over the training frames. min_steps may raise it."),
        "min_steps": _optional("integer", 1, 1_000_000, "The least number of weight updates; small sets need it."),
        "imgsz": _optional("integer", 32, 4096, "Frames are scaled to this many pixels; a multiple of 32."),
        "batch": _optional("integer", 1, 1024, "Frames per weight update. Less memory: a smaller number."),
        "seed": Param(
            line.recipe.seed, type="integer", minimum=0, maximum=2**31 - 1, section=TRAINING,
            description="The same data, recipe and seed give the same model. Another seed trains anew.",
        ),
        "recipe_values": Param(
            {}, type="object", section=TRAINING,
            description='Any other value of the recipe, as JSON, e.g. {"lr0": 0.002, "degrees": 10}.',
        ),
        "force": Param(
            False, type="boolean", section=RUN,
            description="Run even if nothing is new. A finished training of the same data, recipe and seed is reused.",
        ),
        "dry_run": Param(
            False, type="boolean", section=RUN,
            description="Do everything except putting the new model in charge.",
        ),
        "override": Param(
            False, type="boolean", section=RUN,
            description="Put the new model in charge even by gates that are looser than the line's file says. Needs a "
            "note; recorded.",
        ),
        "note": Param("", type="string", section=RUN, description="Why you override; kept in the evidence."),
    }  # fmt: skip
    return fields | {f"gate.{gate.id}": _gate_field(gate) for gate in line.gates}


def _optional(kind: str, low: int, high: int, description: str) -> Param:
    return Param(None, type=["null", kind], minimum=low, maximum=high, section=TRAINING, description=description)


_MEANING = {
    "at_least": "must be at least this",
    "at_most": "must be at most this",
    "not_worse_by": "may be worse than the champion's by at most this",
    "better_by": "must be better than the champion's by more than this",
}


def _gate_field(gate: Gate) -> Param:
    sure = f", with {gate.confidence * 100:g}% confidence" if gate.compares else ""
    device = f" on {gate.device}" if gate.device else ""
    return Param(
        gate.threshold, type="number", minimum=0, section=GATES,
        description=f"{_subject(gate)}{device} {_MEANING[gate.condition]}{sure}. "
        f"The line's file says {gate.threshold:g}.",
    )  # fmt: skip


def _subject(gate: Gate) -> str:
    """What a gate is about: 'AP50 of class 'sperm'', 'AP50_95 in each class and each size'."""
    if gate.for_each:
        each = (asked if "." in asked else f"each {asked}" for asked in gate.for_each)
        return f"{gate.metric} in {' and '.join(each)}"
    if gate.where:
        family, _, name = gate.where.partition(".")
        return f"{gate.metric} of {family} '{name}'"
    return gate.metric


def changes(params: Mapping[str, Any], line: Line) -> dict[str, Any]:
    """What the form changes of the line: the argument of `Line.with_changes`."""
    wanted = {key: params[key] for key in ("recipe", "epochs", "min_steps", "imgsz", "batch", "seed")}
    wanted |= params["recipe_values"]
    wanted |= {key: value for key, value in params.items() if key.startswith("gate.")}
    same = {"recipe": line.recipe.name, "seed": line.recipe.seed} | {f"gate.{g.id}": g.threshold for g in line.gates}
    return {key: value for key, value in wanted.items() if value is not None and value != same.get(key)}


def refuse_unknown_conf() -> None:
    """Airflow accepts unknown keys in a run's conf without a word; an operator's typo must not be ignored.

    Raises:
        ConfigError: Naming the unknown keys.
    """
    context = get_current_context()
    known = set(context["dag"].params)
    unknown = sorted(set(context["dag_run"].conf or {}) - known)
    if unknown:
        raise ConfigError(f"unknown parameter: {', '.join(unknown)}", expected=f"one of {', '.join(sorted(known))}")
