"""A kind of line, put together: its parts are imported when they are asked for."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from inspect import get_annotations
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, ClassVar

from tasks.config import Line
from tasks.errors import ConfigError
from tasks.kind.checks import Checks, Surroundings
from tasks.kind.diagnosis import Diagnosis
from tasks.kind.exploration import Exploration
from tasks.kind.exports import Comparison, Exports
from tasks.kind.label_files import BadFile, Files, LabelFile
from tasks.kind.labels import Control, Labels
from tasks.kind.metrics import Drawing, Metrics, Saliency
from tasks.kind.objects import Object, Row
from tasks.kind.prediction import Answers, Filling, Predictors, Served, ServedModel
from tasks.kind.training import Layout, Recipe, Recipes, Training
from tasks.known_kinds import KindPlace, place_of
from tasks.schemas import Frame, Oid

if TYPE_CHECKING:
    import pandas as pd

    from tasks.lake import Lake, Manifest
    from tasks.metrics.judgement import Metric


@dataclass(frozen=True)
class Words:
    """How reports call what a kind's models are measured on: `image` is a frame or a picture, `thing` what is labelled.

    `images`, `things` are the plurals; `shown` is how many of the worst images a report has room for; `beside` is where
    a picture with labels and predictions has which.
    """

    image: str = "frame"
    images: str = "frames"
    thing: str = "labelled object"
    things: str = "labelled objects"
    shown: int = 6
    beside: str = "labels on the left, predictions on the right"


@dataclass(frozen=True)
class Kind:
    """A kind of line: its name, and its parts."""

    place: KindPlace

    OPTIONAL: ClassVar[frozenset[str]] = frozenset(
        {"exports", "comparison", "saliency", "answers", "exploration", "filling", "diagnosis"}
    )

    @classmethod
    def named(cls, name: str) -> Kind:
        """A kind by its name: for who reads records, whose kind may be another than the line's is today.

        Raises:
            ConfigError: There is none; naming those that there are.
        """
        return cls(place_of(name))

    @property
    def name(self) -> str:
        """As a line's file has it."""
        return self.place.name

    @property
    def use(self) -> str:
        """What models of the kind are for, with `{classes}` where the classes' names go."""
        return str(getattr(self._room(), "USE", "looks for {classes} in single frames"))

    @property
    def words(self) -> Words:
        """How reports call its images and labels."""
        return Words(**getattr(self._room(), "WORDS", {}))

    def originals(self, lake: Lake, manifest: Manifest, rows: Sequence[Row]) -> list[Oid | None]:
        """Blobs that models are shown in the place of some manifest rows' frames; see `Layout`. Empty: none at all."""
        own = getattr(self.layout, "originals", None)
        found: list[Oid | None] = [] if own is None else own(lake, manifest, rows)
        return found

    def prepared(self, lake: Lake, data: Path, recipe: Recipe) -> Path:
        """Where a layout is with every frame as a recipe's model sees it; see `Layout`. Without a change: `data`."""
        own = getattr(self.layout, "prepared", None)
        found: Path = data if own is None else own(lake, data, recipe)
        return found

    @property
    def learned_by(self) -> Metric:
        """The metric by which a model has learned something of a class, or nothing."""
        name = getattr(self.metrics, "LEARNED_BY", self.metrics.METRICS[0].name)
        return next(metric for metric in self.metrics.METRICS if metric.name == name)

    @property
    def labels(self) -> Labels:
        part: Labels = self._part("labels", Labels)
        return part

    def control(self, line: Line) -> Control:
        """The control of a line's project in Label Studio."""
        made = getattr(self.labels, "control", None)
        control: Control = self.labels.CONTROL if made is None else made(line)
        return control

    @property
    def further_controls(self) -> tuple[Control, ...]:
        """Controls beside the first that the same classes may be drawn with."""
        further: tuple[Control, ...] = getattr(self.labels, "FURTHER_CONTROLS", ())
        return further

    def completed(self, objects: list[Object], line: Line) -> list[Object]:
        """What an annotation says, of the objects of all its regions.

        Raises:
            UnfitRegion: It contradicts itself.
        """
        complete = getattr(self.labels, "complete", None)
        whole: list[Object] = objects if complete is None else complete(objects, line)
        return whole

    def spelled_out(self, objects: Sequence[Object], line: Line) -> Sequence[Object]:
        """The reverse of `completed`: objects as its regions have them."""
        spell_out = getattr(self.labels, "spell_out", None)
        parts: Sequence[Object] = objects if spell_out is None else spell_out(objects, line)
        return parts

    def read_files(self, label_format: str, folder: Path, line: Line) -> Iterator[LabelFile | BadFile]:
        """Label files of one of the kind's formats, below a folder."""
        read = self.files.FORMATS[label_format]
        return read(folder, line) if getattr(self.files, "FOR_LINE", False) else read(folder)

    def labels_table(
        self, annotations: Sequence[Row], frames: Mapping[tuple[Oid, int, Oid], Frame], surroundings: Surroundings
    ) -> pd.DataFrame:
        """What the kind's suite looks at; see `Checks.labels_table`."""
        compared = getattr(self.checks, "compared_table", None)
        if compared is None:
            return self.checks.labels_table(annotations, frames)
        table: pd.DataFrame = compared(annotations, frames, surroundings)
        return table

    @property
    def judged_alone(self) -> bool:
        """Whether its checks judge each annotation by itself; see `Checks`."""
        return bool(getattr(self.checks, "JUDGED_ALONE", False))

    def unfinished(self, objects: Sequence[Object]) -> str | None:
        """Why a frame with these objects belongs to no dataset yet, though nothing is wrong with it; None: it does."""
        say = getattr(self.checks, "unfinished", None)
        reason: str | None = None if say is None else say(objects)
        return reason

    @property
    def files(self) -> Files:
        part: Files = self._part("files", Files)
        return part

    @property
    def checks(self) -> Checks:
        part: Checks = self._part("checks", Checks)
        return part

    @property
    def layout(self) -> Layout:
        part: Layout = self._part("layout", Layout)
        return part

    @property
    def recipes(self) -> Recipes:
        part: Recipes = self._part("recipe", Recipes)
        return part

    @property
    def training(self) -> Training:
        part: Training = self._part("train", Training)
        return part

    @property
    def epoch_score(self) -> str | None:
        """The metric of `epoch` events that measures the model on the validation split; None: there is none."""
        score = getattr(self.training, "EPOCH_SCORE", None)
        return str(score) if score else None

    @property
    def predictors(self) -> Predictors:
        part: Predictors = self._part("predictor", Predictors)
        return part

    @property
    def served(self) -> Served:
        model: ServedModel = self._part("served", ServedModel)
        return model.SERVED

    @property
    def metrics(self) -> Metrics:
        part: Metrics = self._part("metrics", Metrics)
        return part

    @property
    def drawing(self) -> Drawing:
        part: Drawing = self._part("drawing", Drawing)
        return part

    @property
    def exports(self) -> Exports | None:
        """None: its models cannot be exported."""
        if not self._has("exports"):
            return None
        part: Exports = self._part("exports", Exports)
        return part

    @property
    def comparison(self) -> Comparison | None:
        """None: of two models only the bytes are compared."""
        if not self._has("comparison"):
            return None
        part: Comparison = self._part("comparison", Comparison)
        return part

    @property
    def saliency(self) -> Saliency | None:
        """None: its models do not show what they look at."""
        if not self._has("saliency"):
            return None
        part: Saliency = self._part("saliency", Saliency)
        return part

    @property
    def answers(self) -> Answers | None:
        """None: `tabulate` says it as it is."""
        if not self._has("answers"):
            return None
        part: Answers = self._part("answers", Answers)
        return part

    @property
    def exploration(self) -> Exploration | None:
        """None: the report shows what it knows of every kind."""
        if not self._has("exploration"):
            return None
        part: Exploration = self._part("exploration", Exploration)
        return part

    @property
    def filling(self) -> Filling | None:
        """None: its annotators begin nothing that a model could complete."""
        if not self._has("filling"):
            return None
        part: Filling = self._part("filling", Filling)
        return part

    @property
    def diagnosis(self) -> Diagnosis | None:
        """None: a diagnosis rests on its metrics alone."""
        if not self._has("diagnosis"):
            return None
        part: Diagnosis = self._part("diagnosis", Diagnosis)
        return part

    def expectations(self, otherwise: Path) -> Path:
        """The folder of its suite: its own, else the installation's."""
        own = self.place.folder / "expectations"
        return own if own.is_dir() else otherwise

    def check(self) -> Kind:
        """This kind, if all its parts are whole. Imports them: for tests, and for who writes one.

        Raises:
            ConfigError: Naming every part that is missing, and what a part lacks.
        """
        faults = []
        for name in ("labels", "files", "checks", "layout", "recipes", "training", "predictors", "served", "metrics",
                      "drawing", "exports", "comparison", "saliency", "answers", "exploration", "filling",
                      "diagnosis"):  # fmt: skip
            try:
                getattr(self, name)
            except ConfigError as error:
                faults.append(str(error))
        if faults:
            raise ConfigError("; ".join(faults))
        return self

    def _has(self, part: str) -> bool:
        self._room()
        return find_spec(f"{self.place.package}.{part}") is not None

    def _part(self, part: str, protocol: type) -> Any:
        self._room()
        name = f"{self.place.package}.{part}"
        try:
            module = import_module(name)
        except ModuleNotFoundError as error:
            if error.name != name:
                raise
            raise ConfigError(
                f"kind {self.name!r}: has no {part}.py", expected="the modules that tasks/kind/ lists",
                found=str(self.place.folder), fix="see docs/how-to/add-a-kind.md",
            ) from error  # fmt: skip
        lacking = [member for member in _members(protocol) if not hasattr(module, member)]
        if lacking:
            raise ConfigError(
                f"kind {self.name!r}: {part}.py has no {', '.join(lacking)}",
                expected="what tasks/kind/ asks of it",
                fix="see docs/how-to/add-a-kind.md",
            )
        return module

    def _room(self) -> ModuleType:
        """The kind's package; a loose folder is made one first."""
        if self.place.loose and self.place.package not in sys.modules:
            _make_importable(self.place)
        return import_module(self.place.package)


def _members(protocol: type) -> list[str]:
    """The names that a protocol asks for, its attributes first."""
    names = dict.fromkeys((*get_annotations(protocol), *vars(protocol)))
    return [name for name in names if not name.startswith("_")]


def _make_importable(place: KindPlace) -> None:
    """Import a folder as the package that its place names, so that its modules can import each other by that name."""
    parent, _, _ = place.package.rpartition(".")
    if parent not in sys.modules:
        sys.modules[parent] = ModuleType(parent)
        sys.modules[parent].__path__ = []
    spec = spec_from_file_location(
        place.package, place.folder / "__init__.py", submodule_search_locations=[str(place.folder)]
    )
    if spec is None or spec.loader is None:
        raise ConfigError(f"kind {place.name!r}: {place.folder} cannot be imported")
    module = module_from_spec(spec)
    sys.modules[place.package] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[place.package]
        raise
