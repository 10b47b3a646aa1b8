"""The trigger form of a line's night, and what an operator's answers mean to the steps.

Airflow's form takes a field for required unless its type admits null, and then keeps *Trigger* greyed out until
something is typed: whatever may be left empty says so. Fields without a section stand open at the top; sections are
folded.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow.sdk import Param, get_current_context

from nightscope_airflow.words import gate_title
from tasks.config import Gate, Line
from tasks.errors import ConfigError
from tasks.lake.searches import SEARCH_NAME

TRAINING, GATES = "How the challenger is trained", "Gates: what it must reach"


def form(line: Line, recipes: list[str]) -> dict[str, Param]:
    """The typed fields of the trigger form. An empty field means: as the line's file says."""
    own = line.recipe
    fields = {
        "force": switch(
            "Run even if nothing is new",
            "A training of the same frames, recipe and seed that is finished already is used again, not repeated.",
        ),
        "dry_run": switch("Only try: leave the champion alone", "Everything is done except for the last step."),
        "override": override_switch(
            "Put the new model in charge even if the gates below were set looser than the line's file says."
        ),
        "note": note_field(),
        "recipe": Param(
            own.name, type=["null", "string"], enum=[*recipes, None], values_display={"null": "(the line's own)"},
            section=TRAINING, title="Recipe",
            description="'from-coco' needs a weights file, the others nothing. Values that the line's file sets stay. "
            "Empty: the line's own.",
        ),
        "epochs": _optional("Epochs", 1, 10_000, "Passes over the training frames. The least updates may raise it."),
        "min_steps": _optional(
            "Updates of the weights, at least", 0, 1_000_000, "Small sets of frames need it: epochs are raised until "
            "so many were done.",
        ),
        "imgsz": _optional(
            "Image size (pixels)", 32, 4096, "Frames are scaled to this; a multiple of 32. Larger finds smaller "
            "objects and takes longer.",
        ),
        "batch": _optional("Frames at once (batch)", 1, 1024, "Out of memory? Take a smaller number."),
        "seed": Param(
            own.seed, type=["null", "integer"], minimum=0, maximum=2**31 - 1, section=TRAINING, title="Seed",
            description="The same frames, recipe and seed give the same model. Another seed trains anew.",
        ),
        "from_search": Param(
            None, type=["null", "string"], pattern=f"^{SEARCH_NAME}#[0-9]{{1,4}}$", section=TRAINING,
            title="Values found by a search",
            description="The search and the number of its trial, e.g. lr#12, as its report names them. Empty: none.",
        ),
        "recipe_values": Param(
            {}, type=["null", "object"], section=TRAINING, title="Other values of the recipe",
            description='As JSON, e.g. {"lr0": 0.002, "degrees": 10}. The site lists them: "How a detector learns".',
        ),
    }  # fmt: skip
    return fields | {f"gate.{gate.id}": _gate_field(gate) for gate in line.gates}


def switch(title: str, description: str) -> Param:
    """A switch that is off."""
    return Param(False, type=["null", "boolean"], title=title, description=description)


def override_switch(description: str) -> Param:
    """The switch by which a person takes something on themselves."""
    return switch("Override", f"{description} Needs a note, which is kept with your name.")


def note_field(needed: str = "Needed only with Override.") -> Param:
    """Free text for the evidence."""
    return Param(
        None, type=["null", "string"], title="Note", description=f"Why; kept in the evidence. {needed}".strip()
    )


def _optional(title: str, low: int, high: int, description: str) -> Param:
    return Param(
        None, type=["null", "integer"], minimum=low, maximum=high, section=TRAINING, title=title,
        description=f"{description} Empty: as the line's file and recipe say.",
    )  # fmt: skip


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
        gate.threshold, type=["null", "number"], minimum=0, section=GATES, title=gate_title(gate),
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
    own = ("recipe", "epochs", "min_steps", "imgsz", "batch", "seed", "from_search")
    wanted = {key: params[key] for key in own}
    wanted |= params["recipe_values"] or {}
    wanted |= {key: value for key, value in params.items() if key.startswith("gate.")}
    same = {"recipe": line.recipe.name, "seed": line.recipe.seed} | {f"gate.{g.id}": g.threshold for g in line.gates}
    return {key: value for key, value in wanted.items() if value is not None and value != same.get(key)}


def note_of(params: Mapping[str, Any]) -> str:
    """The note, empty where nothing was written."""
    return str(params.get("note") or "").strip()


def check_form() -> None:
    """Refuse what Airflow's form cannot: unknown keys, and an override that nobody gives a reason for.

    Raises:
        ConfigError: Naming the unknown keys, or the missing note.
    """
    refuse_unknown_conf()
    context = get_current_context()
    params = context["params"]
    if "override" in context["dag"].params and params["override"] and not note_of(params):
        raise ConfigError(
            "Override is on, and Note is empty",
            expected="a sentence that says why; it is kept in the evidence with your name",
            fix="trigger again with a note, or with Override off",
        )


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
