"""What a kind of line must provide: one protocol, against which every other room is written.

A kind is a folder, and its modules are the parts below, each a protocol that the module itself fulfils:

    __init__.py    USE: what models of the kind are for, in words
    labels.py      `Labels`: the control in Label Studio, and its regions ⇄ objects
    files.py       `Files`: label files of other tools
    checks.py      `Checks`: which objects may be learned from, and the suite that says so
    layout.py      `Layout`: a dataset version on disk, as the trainer reads it
    recipe.py      `Recipes`: the values that a training may be given; recipes/*.yaml beside it
    train.py       `Training`: the training itself, in a subprocess of its own
    predictor.py   `Predictors`: a trained model, loaded
    served.py      `ServedModel`: the model as MLflow serves it
    metrics.py     `Metrics`: predictions and labels to numbers, and the slices they are measured in
    drawing.py     `Drawing`: frames with what was labelled and what was predicted
    exports.py     `Exports`, optional: models for other runtimes
    comparison.py  `Comparison`, optional: where two files of weights begin to differ

An **object** is what a label says of a frame: a dict that annotations, manifests and predictions carry, and that only
its kind looks into. One thing holds for all kinds: `label` is the name of a class of the line. Images are BGR, uint8,
[height, width, 3]; places are pixels from the top left corner of the frame; scores lie in [0, 1].

Parts are imported when they are asked for: to know a kind costs nothing, and a step loads only what it needs. `steps`
picks the kind of a line (`tasks.kinds.kind_of`) and hands it down; the rooms below never choose.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from inspect import get_annotations
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, TypeAlias, TypeVar

from pydantic import Field

from tasks.config import Line, RecipeChoice
from tasks.errors import ConfigError
from tasks.known_kinds import KindPlace, place_of
from tasks.schemas import Frame, Frozen, Oid, digest

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    import pyarrow as pa
    from numpy.typing import NDArray

    from tasks.lake import Lake
    from tasks.metrics.judgement import Judgement, Metric
    from tasks.metrics.label_agreement import LabelAgreement

Object = dict[str, Any]
Region = dict[str, Any]
"""One entry of Label Studio's `result`."""
Row = dict[str, Any]
Event = dict[str, Any]
Image: TypeAlias = "NDArray[np.uint8]"
"""BGR, uint8, [height, width, 3]."""
R = TypeVar("R", bound="Recipe")


# ---- labels


@dataclass(frozen=True)
class Control:
    """The control of Label Studio whose labels are the line's classes.

    Attributes:
        tag: Of the control, e.g. 'RectangleLabels'.
        entry: Tag of one class in it: 'Label' or 'Choice'.
        attributes: Of the control, beside its name.
    """

    tag: str
    entry: str
    attributes: Mapping[str, str]


class UnfitRegion(Exception):
    """A region that cannot be an object of the line; the text says why, after the words 'a region'."""


class Labels(Protocol):
    """Label Studio's regions ⇄ objects."""

    CONTROL: Control

    def read_region(self, region: Region, width_px: int, height_px: int) -> list[Object]:
        """The objects of one region of our control, drawn on a frame of that size. `tasks.labeling.convert` helps.

        Raises:
            UnfitRegion: It cannot be read; its annotation is then set aside whole.
        """
        ...

    def write_objects(self, objects: Sequence[Object], width_px: int, height_px: int) -> list[Region]:
        """Objects of one frame as regions: `type` and `value` (and `meta`); names and ids are added by the caller."""
        ...


# ---- label files


@dataclass(frozen=True)
class LabelFile:
    """The labels of one image, as a file of another tool has them.

    Attributes:
        file: What to call it before the user: path relative to the folder, and the image where a file holds several.
        image: The image's name without folders and suffix: '<recording stem>_<frame>', or a picture's of a folder.
        objects: What the kind's reader found, in the reader's own terms; only its kind looks into it. Possibly none.
        normalised: Whether places are fractions of the image's size; else pixels.
        width_px: The image's size as the file states it; None where it does not.
        height_px: As `width_px`.
    """

    file: str
    image: str
    objects: tuple[Any, ...]
    normalised: bool = False
    width_px: int | None = None
    height_px: int | None = None


@dataclass(frozen=True)
class BadFile:
    """A label file, or a part of one, that cannot be read, and why.

    Attributes:
        file: As `LabelFile.file`.
        reason: What is wrong with it.
        image: As `LabelFile.image`; None where it is not known. The name counts even where the content does not.
    """

    file: str
    reason: str
    image: str | None = None


class Misplaced(Exception):
    """A label file that cannot be about its frame; the text says why."""


class Files(Protocol):
    """Label files of other tools."""

    FORMATS: Mapping[str, Callable[[Path], Iterator[LabelFile | BadFile]]]
    """Format -> reads every such file below a folder. Possibly empty: such a kind is labelled in Label Studio only."""

    def classes_in(self, labels: LabelFile) -> set[str]:
        """The classes that a file names, in the file's words."""
        ...

    def place(self, labels: LabelFile, frame: Frame, line: Line) -> list[Object]:
        """A file's labels as objects of its frame, under the line's names for their classes.

        Raises:
            Misplaced: It cannot be about this frame.
        """
        ...


# ---- checks


class Checks(Protocol):
    """Which objects may be learned from."""

    SUITE: str
    """The suite's name: `<SUITE>.json` in the kind's own `expectations/`, else in the installation's."""
    TITLE: str
    """What the suite is called in the report."""

    def parameters(self, line: Line) -> dict[str, Any]:
        """The suite's parameters for a line."""
        ...

    def labels_table(self, annotations: Sequence[Row], frames: Mapping[tuple[Oid, int, Oid], Frame]) -> pd.DataFrame:
        """What the suite looks at: a row for each object, with its `row_id` and `label`.

        A kind whose frames must bear an object adds a row (`row_id` of number 0) for an annotation that has none.

        Args:
            annotations: Rows of the table `annotations`, `objects` parsed.
            frames: By (recording id, frame index, oid); all that the annotations name.
        """
        ...

    def row_id(self, annotation_id: str, number: int) -> str:
        """The row id of an annotation's object, counted from 0."""
        ...

    def cleaned(self, objects: Sequence[Object], frame: Frame) -> list[Object]:
        """Objects that passed, in the form that manifests keep."""
        ...

    def counted(self, objects: Sequence[Object]) -> list[Object]:
        """Those of a frame's objects that count as one label each."""
        ...

    def is_learned_from(self, objects: Sequence[Object]) -> bool:
        """Whether a training takes a frame with these objects."""
        ...

    def notes(self, frames: Sequence[Sequence[Object]]) -> list[str]:
        """What a person should know of the accepted frames' objects, a sentence each."""
        ...

    def agreement(self, first: Sequence[Object], second: Sequence[Object], line: Line) -> list[LabelAgreement]:
        """How far two people agree on one frame: counts for each class of the line, in its order."""
        ...

    def described(self, item: Object) -> str:
        """An object in a few words, for the list of what was set aside."""
        ...


# ---- training


class Layout(Protocol):
    """A dataset version on disk."""

    def materialise(self, lake: Lake, line: Line, version: str) -> Path:
        """Lay a dataset version out as the kind's trainer reads it; nearly free when it is there already.

        Returns:
            The path that `Training.options` and the worker are given.

        Raises:
            NotFound: No such version, or a frame is not in the lake.
        """
        ...


class Recipe(Frozen):
    """A checked recipe. A kind adds fields of its own."""

    name: str
    description: str = ""
    kind: str
    seed: int
    weights: str | None = None
    """What to start from: the name of a file in `<state_dir>/weights/`, or the oid of a blob; None: from scratch."""
    device: str | None = None
    """'cpu', a GPU by number, or several ('0,1') to train on together; None: the next that is free."""
    arguments: dict[str, Any] = Field(default_factory=dict)
    """The trainer's own values."""

    @property
    def input_px(self) -> int:
        """Side that images are scaled to; 0 where they are not."""
        return 0

    @property
    def predicting(self) -> dict[str, Any]:
        """How the finished model predicts: plain numbers and switches, which MLflow shows as parameters."""
        return {}

    def plain(self: R) -> R:
        """The recipe whose training is the same: what only changes how the finished model predicts is left out."""
        return self

    def sources(self) -> tuple[Path, ...]:
        """Files beside the kind's code that decide the training, such as an architecture."""
        return ()

    def fingerprint(self) -> str:
        """Digest of everything in it that can change a training's result."""
        return digest(self.model_dump(mode="json", exclude={"description"}))


class Recipes(Protocol):
    """The kind's recipes."""

    def recipe_names(self) -> tuple[str, ...]:
        """The shipped recipes, sorted."""
        ...

    def load_recipe(self, choice: RecipeChoice) -> Recipe:
        """The recipe that a line names, with the line's changes.

        Raises:
            ConfigError: No such recipe; or naming every key that cannot be set and every bad value at once.
        """
        ...

    def recorded(self, data: Mapping[str, Any]) -> Recipe:
        """A recipe as `Recipe.model_dump` wrote it once, perhaps by an older release."""
        ...


class Job(Frozen):
    """One training, complete: what a step asks of its training subprocess. See `tasks.training.job`."""

    kind: str
    run_key: str
    folder: Path
    """Scratch of this training; ours alone."""
    data: Path
    """What `Layout.materialise` returned."""
    has_val: bool
    seed: int
    options: dict[str, Any] = Field(default_factory=dict)
    """What the kind's `Training.options` said."""
    weights: Path | None = None
    """Start from these; verified by the step."""
    resume_from: Path | None = None
    """A checkpoint that this training wrote before it was killed."""
    state_dir: Path
    """Where libraries may keep their settings."""
    locks_dir: Path
    devices: tuple[str, ...] = ("cpu",)
    """Those of this machine, see `tasks.training.devices`."""
    on: tuple[str, ...] | None = None
    """Train on exactly these, on several side by side (DDP); None: on any one that is free."""
    parent_pid: int
    """The step. The training dies with it."""
    progress_every_s: float = 5.0
    threads: int | None = None


class Training(Protocol):
    """The training itself."""

    def options(self, recipe: Any, data: Path) -> dict[str, Any]:
        """What the worker needs beside the job's own fields, as JSON values.

        Args:
            recipe: A recipe of this kind.
            data: What `Layout.materialise` returned.

        Raises:
            ConfigError: The recipe names something that is not there.
        """
        ...

    def train(self, job: Job, report: Callable[..., None], *, rank: int = 0) -> None:
        """Train, or go on from `job.resume_from`; runs in the worker, with its devices held and the others hidden.

        Args:
            job: What to do. All files are written below `job.folder`.
            report: Takes an event and its content, as `tasks.training.job` lists them; the last one is `finished`.
            rank: Which of several processes this is that train together; only the first reports.
        """
        ...


class ModelRef(Frozen):
    """A model to be judged: enough to load it, and to say later which one it was."""

    model_version: str = Field(description="In the registry; for a challenger not yet registered, any name for it.")
    weights_oid: Oid
    classes: tuple[str, ...] = Field(description="Names by the model's own class index; may differ from the line's.")
    dataset_version: str | None = Field(default=None, description="What it was trained on.")
    mlflow_run: str | None = None
    options: dict[str, Any] = Field(default_factory=dict, description="What its kind's predictor needs, e.g. imgsz.")


class Predictor(Protocol):
    """A loaded model."""

    @property
    def device(self) -> str:
        """Where it runs: 'cpu', 'cuda:0'."""
        ...

    def predict(self, images: Sequence[Image]) -> Sequence[Any]:
        """A prediction for each BGR uint8 image [H, W, 3], in order, in the form that `Metrics.tabulate` takes.

        Low scores are included: metrics over all thresholds need them.
        """
        ...


class Predictors(Protocol):
    """Trained models, loaded."""

    def load(self, lake: Lake, model: ModelRef, device: str | None) -> Predictor:
        """Load a model, its bytes checked against their oids first.

        Args:
            lake: Holds the weights.
            model: `options` has `imgsz` (px) and `predict` as its recipe said; `files` (name -> oid) for an export.
            device: 'cpu', 'cuda:0'; None: the best one there is.
        """
        ...


@dataclass(frozen=True)
class Served:
    """A model as MLflow serves it.

    Attributes:
        code: The models-from-code file: stands alone, ends in `set_model(...)`. It finds the artifacts `weights` and
            `model` (model.json: classes, imgsz, predict, weights_sha256), and `modules` under their files' stems.
        modules: Python files that it needs beside it.
        weights_name: What the file of weights is called; libraries go by the suffix.
        requirements: Distributions that it needs; pinned to the versions installed here.
        columns: Of the table that it returns: name -> 'double' or 'string'.
    """

    code: Path
    columns: Mapping[str, str]
    modules: tuple[Path, ...] = ()
    weights_name: str = "weights.pt"
    requirements: tuple[str, ...] = ("mlflow", "numpy", "pandas")


class ServedModel(Protocol):
    """How the kind's models are served."""

    SERVED: Served


# ---- evaluation


class Shape(Frozen):
    """One drawn object: a closed outline in pixels of the frame, and how it fared."""

    points: tuple[tuple[float, float], ...]
    label: str
    state: Literal["right", "wrong", "missed"]
    score: float | None = None


class FrameView(Frozen):
    """One frame with what was labelled and what was predicted, to be drawn side by side."""

    frame_oid: Oid
    recording_name: str
    frame_index: int
    pts_s: float | None
    width_px: int
    height_px: int
    errors: int
    labelled: tuple[Shape, ...]
    predicted: tuple[Shape, ...]


class Metrics(Protocol):
    """Numbers. `frames` are manifest rows; an image's index is its place among them."""

    METRICS: tuple[Metric, ...]
    """All that gates and reports may name; the first is the main one."""
    NOTHING: float
    """Below this, of the main metric, a model has learned nothing of a class."""

    def slices(self, line: Line) -> dict[str, tuple[str, ...]]:
        """Families of slices that metrics are also measured in, and their names, e.g. {'size': ('small', ...)}."""
        ...

    def tabulate(
        self, outputs: Sequence[Any], frames: Sequence[Row], model_classes: Sequence[str], line: Line
    ) -> pa.Table:
        """A predictor's raw outputs, one for each frame, as rows to be stored, units in the columns' names."""
        ...

    def judge(self, predictions: pa.Table, frames: Sequence[Row], line: Line) -> Judgement:
        """Score stored predictions against the frames' labels."""
        ...


class Drawing(Protocol):
    """Frames for the report."""

    def views(
        self, predictions: pa.Table, frames: Sequence[Row], line: Line, judgement: Judgement, images: Sequence[int]
    ) -> list[FrameView]:
        """Some frames, by their places among `frames`, ready to be drawn."""
        ...


# ---- what a kind may lack


class Exports(Protocol):
    """Models for other runtimes: made, compared with their originals, and timed beside them."""

    FORMATS: tuple[str, ...]

    def check_supported(self, fmt: str, int8: bool) -> str:
        """The format, if models can be exported to it.

        Raises:
            ConfigError: There is no such format, or no int8 in it.
        """
        ...

    def tolerance(self, int8: bool, max_loss: float | None) -> dict[str, float]:
        """By how much an export may differ from its original.

        Raises:
            ConfigError: `max_loss` is not a number from 0 to 1.
        """
        ...

    def make(self, lake: Lake, about: Any, fmt: Any, int8: bool, training: Sequence[Row], folder: Path) -> Any:
        """Export a registered model (`about`: a `ModelAbout`); `training` are the manifest rows it learned from."""
        ...

    def benchmark(self, lake: Lake, record: Any, frames: Sequence[Row], folder: Path) -> dict[str, Any]:
        """Time original and export on test frames."""
        ...

    def checks(self, line: Line, evaluation: Any, original: pa.Table, export: pa.Table, frames: Sequence[Row],
               predict: Mapping[str, Any]) -> dict[str, Any]:  # fmt: skip
        """Compare predictions of both on the same frames."""
        ...

    def described(self, checks: Mapping[str, Any]) -> list[str]:
        """What `checks` found beside the metrics, in sentences."""
        ...

    def refusals(self, record: Any) -> list[str]:
        """Why an export is not the model that it was made of; empty: it is, within the tolerance."""
        ...


class Comparison(Protocol):
    """Two files of weights."""

    def compare_weights(self, first: Path, second: Path, oids: tuple[Oid, Oid]) -> Any:
        """Where they begin to differ: a `tasks.training.weights.WeightsComparison`."""
        ...


# ---- the kind


@dataclass(frozen=True)
class Kind:
    """A kind of line: its name, and its parts."""

    place: KindPlace

    OPTIONAL: ClassVar[frozenset[str]] = frozenset({"exports", "comparison"})

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
    def labels(self) -> Labels:
        part: Labels = self._part("labels", Labels)
        return part

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
                     "drawing", "exports", "comparison"):  # fmt: skip
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
                f"kind {self.name!r}: has no {part}.py", expected="the modules that tasks/kind.py lists",
                found=str(self.place.folder), fix="see docs/how-to/add-a-kind.md",
            ) from error  # fmt: skip
        lacking = [member for member in _members(protocol) if not hasattr(module, member)]
        if lacking:
            raise ConfigError(
                f"kind {self.name!r}: {part}.py has no {', '.join(lacking)}",
                expected="what tasks/kind.py asks of it",
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
