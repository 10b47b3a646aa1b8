"""From a dataset version to a trained model: layout, recipe, job and training."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeVar

from pydantic import Field

from tasks.config import Line, RecipeChoice
from tasks.schemas import Frozen, Oid, digest

if TYPE_CHECKING:
    from tasks.lake import Lake


R = TypeVar("R", bound="Recipe")


class Layout(Protocol):
    """A dataset version on disk.

    A kind whose models see more of a picture than annotators do has `originals(lake, manifest, rows)` beside this: for
    each of some manifest rows the blob of the picture as it was taken, or None where the frame shows all of it. Its
    predictors then have `read_original(path)`, and `predict` takes what that gives as well. For files that anybody sent
    there is `read_original(path, read)`: it opens none itself, but has `read(path, "module:function", *arguments)` call
    the function of ours that does, in a process of its own (`tasks.ingest.streaming.FrameStream.read`).

    A kind whose recipes may name a `denoiser` has `prepared(lake, data, recipe)` beside this: it returns where the
    layout `data` is with every frame changed as the recipe says, once for all trainings.
    """

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

    WEIGHTS_ADVICE: ClassVar[str] = "ask who trained them"
    """Where weights of this kind come from: part of a message."""

    def installed_weights(self) -> tuple[Path, Oid] | None:
        """Where `weights` names a file that an installed package brings: the file, verified, and its oid; else None.

        Raises:
            ConfigError: The package is not installed, or its file is another.
        """
        return None

    def teacher(self) -> str | None:
        """A finished model that it learns from, named as `weights` are; None: from the labels alone."""
        named: str | None = self.arguments.get("teacher")
        return named

    def denoiser(self) -> str | None:
        """What every frame goes through before the model, in training and ever after; None: frames stay as they are.

        Named as `weights` are, or a version of a denoiser: 'speckle/1'.
        """
        named: str | None = self.arguments.get("denoiser")
        return named

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
    teacher: Path | None = None
    """Learn from the model with these; verified by the step."""
    denoiser: Path | None = None
    """What the frames of `data` have gone through, for the finished model to carry; verified by the step."""
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
    shown_in: Path | None = None
    """Where files for TensorBoard go; None: nowhere."""


class Training(Protocol):
    """The training itself.

    A module may also name `EPOCH_SCORE`: the metric of its `epoch` events that measures the model on the validation
    split, higher is better. By it a search ends trainings early that come to nothing.
    """

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
