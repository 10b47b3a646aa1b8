"""A model line: one YAML file in `dags/lines/`, read into a frozen `Line`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Self

from pydantic import (
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from tasks.config.channels import MOST
from tasks.config.faults import in_words
from tasks.config.gate import Gate
from tasks.config.limits import LARGEST, LINE_NAME
from tasks.config.plans import (
    AnnotatorChoice,
    ApprovalPlan,
    ClassSpec,
    EvaluationPlan,
    FrameSampling,
    Minimums,
    Plausibility,
    RecipeChoice,
    RecordingFilter,
    SplitPlan,
)
from tasks.errors import ConfigError
from tasks.known_kinds import place_of
from tasks.schemas import Frozen, digest
from tasks.small_yaml import read_yaml

_MOST_CHANNELS = 64
"""Of a picture."""


class Line(Frozen):
    """A model line: what it learns from, how it trains, which gates it must pass, when it runs."""

    line: str = Field(pattern=LINE_NAME)
    title: str = ""
    kind: str = Field(description="What the line learns, e.g. detection; a kind that is there.")
    classes: dict[str, ClassSpec] = Field(min_length=1)
    multi_label: bool = Field(
        default=False, description="Classification: each class holds or does not, independently of the others."
    )
    channels: dict[str, int] = Field(
        default_factory=dict, max_length=MOST,
        description="Stills of several channels: what is where, from 0, e.g. {nucleus: 2, membrane: 0}.",
    )  # fmt: skip
    schedule: str | None = Field(default=None, description="Cron, UTC; none = on demand only.")
    recordings: RecordingFilter = RecordingFilter()
    annotators: AnnotatorChoice = AnnotatorChoice()
    frames: FrameSampling = FrameSampling()
    splits: SplitPlan = SplitPlan()
    minimums: Minimums = Minimums()
    plausible: Plausibility = Plausibility()
    recipe: RecipeChoice
    max_training_h: float = Field(
        default=24.0, gt=0, le=24 * 31, description="A training that takes longer is ended; its checkpoints are kept."
    )
    evaluation: EvaluationPlan = EvaluationPlan()
    gates: tuple[Gate, ...] = Field(min_length=1)
    approval: ApprovalPlan = Field(default=ApprovalPlan(), description="'none', 'required', or a plan's keys.")
    intended_use: str = Field(default="", description="For the model card: what the model is for, and what not.")
    from_search: str | None = Field(
        default=None, description="Of one run: the trial of a search whose values its recipe has, e.g. 'lr#12'."
    )

    @field_validator("kind")
    @classmethod
    def _kind_is_there(cls, value: str) -> str:
        try:
            return place_of(value).name
        except ConfigError as error:
            raise ValueError(str(error)) from error

    @field_validator("classes", mode="before")
    @classmethod
    def _bare_class_names(cls, value: Any) -> Any:
        """`classes: [a, b]` and `a:` (nothing after it) are welcome too."""
        if isinstance(value, list):
            return {name: {} for name in value}
        return {name: spec or {} for name, spec in value.items()} if isinstance(value, dict) else value

    @field_validator("approval", mode="before")
    @classmethod
    def _approval_in_a_word(cls, value: Any) -> Any:
        """`approval: none` and `approval: required`."""
        words = {"none": False, "required": True}
        if isinstance(value, str) and value not in words:
            raise ValueError(f"expected none, required, or required/timeout_h/assigned_to; found {value!r}")
        return {"required": words[value]} if isinstance(value, str) else value

    @field_validator("channels")
    @classmethod
    def _channels_are_places(cls, value: dict[str, int]) -> dict[str, int]:
        wrong = [f"{name}: {place}" for name, place in value.items() if not 0 <= place < _MOST_CHANNELS]
        if wrong:
            raise ValueError(f"expected places from 0 to {_MOST_CHANNELS - 1}; found {', '.join(wrong)}")
        return value

    @field_validator("gates")
    @classmethod
    def _gates_about_labels(cls, value: tuple[Gate, ...], info: ValidationInfo) -> tuple[Gate, ...]:
        """Both `class: x` and `slice: label.x` are welcome in a multi-label line."""
        return tuple(gate.about_labels() for gate in value) if info.data.get("multi_label") else value

    @model_validator(mode="after")
    def _names_are_known(self) -> Self:
        named = [("minimums", n) for n in (*self.minimums.labels, *self.minimums.labels_per_split)]
        named += [(f"gate {gate.id}", gate.class_) for gate in self.gates if gate.class_]
        labels = [(gate.id, place.partition(".")) for gate in self.gates if (place := gate.slice_)]
        named += [(f"gate {i}", name) for i, (family, _, name) in labels if family == "label" and self.multi_label]
        unknown = [f"{where} names the class {name!r}" for where, name in named if name not in self.classes]
        ids = [gate.id for gate in self.gates]
        unknown += [f"gate {i} is there twice" for i in sorted(set(ids)) if ids.count(i) > 1]
        superior = [gate.id for gate in self.gates if gate.condition == "better_by"]
        if len(superior) > 1:
            unknown.append(f"{' and '.join(superior)}: superiority is asked of one metric only, chosen beforehand")
        if unknown:
            raise ValueError(f"{'; '.join(unknown)} (classes: {', '.join(self.classes)})")
        return self

    def dag_id_of(self, what: str) -> str:
        """One of the line's DAGs, e.g. 'retrain_sperm_detector'."""
        return dag_id_of(what, self.line)

    @property
    def dag_id(self) -> str:
        """The line's night."""
        return self.dag_id_of("retrain")

    def class_named(self, name: str) -> str | None:
        """The class that a foreign label name means: by name or alias, ignoring case; None if there is none."""
        wanted = name.strip().casefold()
        for own, spec in self.classes.items():
            if wanted in {own.casefold(), *(alias.casefold() for alias in spec.aliases)}:
                return own
        return None

    def fingerprint(self) -> str:
        """Digest of the whole configuration: changes whenever the line does, but not with how long it may take."""
        # Lines of releases that did not know these keys stay the same.
        unsaid = {key for key in ("multi_label", "channels", "from_search") if not getattr(self, key)}
        data = self.model_dump(mode="json", by_alias=True, exclude={"max_training_h", *unsaid})
        if not self.recordings.except_studies:
            del data["recordings"]["except_studies"]
        return digest(data)

    def with_changes(self, changes: Mapping[str, Any]) -> Line:
        """This line as one run wants it.

        Args:
            changes: `recipe` (name), `seed`, `gate.<gate id>` (a threshold), `evaluation.<key>`, `from_search` (a note;
                its values are `Session.line`'s affair), any other key is a recipe value (`epochs`, `imgsz`, ...),
                checked by the line's kind.

        Raises:
            ConfigError: A gate that the line does not have, or a value that is none.
        """
        data = self.model_dump(mode="json", by_alias=True, exclude_none=True)
        faults = []
        for key, value in changes.items():
            if isinstance(value, int) and abs(value) > LARGEST:
                faults.append(f"{key}: expected at most {LARGEST}, found a huge number")
            elif key == "name":
                faults.append("name: cannot be set, say recipe=<name>")
            elif isinstance(value, bool) and key.startswith(("gate.", "evaluation.")):
                faults.append(f"{key}: expected a number, found {str(value).lower()}")
            elif key == "recipe":
                data["recipe"]["name"] = value
            elif key == "from_search":
                data["from_search"] = value
            elif key.startswith("gate."):
                faults += _change_gate(data["gates"], self.gates, key.removeprefix("gate."), value)
            elif key.startswith("evaluation."):
                data["evaluation"][key.removeprefix("evaluation.")] = value
            else:
                data["recipe"][key] = value
        if faults:
            raise ConfigError(f"line {self.line}: {'; '.join(faults)}", expected=", ".join(g.id for g in self.gates))
        return parse_line(data, f"line {self.line} with changes")


def dag_id_of(what: str, line: str) -> str:
    """The id of a line's DAG, also where the line's file is too broken to make a `Line`."""
    return f"{what}_{re.sub('[^A-Za-z0-9_.]', '_', line)}"


def _change_gate(data: list[dict[str, Any]], gates: Iterable[Gate], gate_id: str, value: Any) -> list[str]:
    for entry, gate in zip(data, gates, strict=True):
        if gate.id == gate_id:
            entry[gate.condition] = value
            return []
    return [f"no gate {gate_id!r}"]


def parse_line(data: Any, source: str) -> Line:
    """Turn a line's YAML data into a `Line`, or list every fault.

    Raises:
        ConfigError: Naming `source` and all faults at once.
    """
    try:
        return Line.model_validate(data)
    except ValidationError as error:
        raise ConfigError(
            f"{source}: {in_words(error)}", fix="see dags/lines/sperm-detector.yaml for the shape"
        ) from error


def load_line(name: str, lines_dir: Path) -> Line:
    """Read one line by name.

    Raises:
        ConfigError: No such line, or its YAML is wrong.
    """
    path = lines_dir / f"{name}.yaml"
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in lines_dir.glob("*.yaml"))) or "none"
        raise ConfigError(
            f"line {name!r}: no such line", expected=f"one of: {known}", fix=f"add {path} or name another"
        )
    return _read_line(path)


def load_lines(lines_dir: Path) -> tuple[Line, ...]:
    """Read every line, sorted by name.

    Raises:
        ConfigError: Listing the faults of all files at once.
    """
    lines, faults = [], []
    for path in sorted(lines_dir.glob("*.yaml")):
        try:
            lines.append(_read_line(path))
        except ConfigError as error:
            faults.append(str(error))
    if faults:
        raise ConfigError(" | ".join(faults))
    return tuple(lines)


def _read_line(path: Path) -> Line:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}", expected="a text file in UTF-8") from error
    line = parse_line(read_yaml(text, str(path)), str(path))
    if line.line != path.stem:
        raise ConfigError(f"{path}: line: {line.line!r}", expected=f"the file's name, {path.stem!r}")
    return line
