"""What a diagnosis found, as `nightscope diagnose --json` has it; the rules of `advice.py` read nothing else."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from tasks.kind import DoubtfulLabel
from tasks.metrics.learning_curve import Rise
from tasks.metrics.threshold import ThresholdGain
from tasks.schemas import Frozen, Oid


class Measure(Frozen):
    """The line's main metric on the test split."""

    metric: str
    title: str
    value: float | None
    low: float | None
    high: float | None
    digits: int
    groups: int
    """Donors, else recordings, that the interval rests on."""
    noun: str
    """What such a group is: 'donor', 'recording' or 'picture'."""
    confidence: float


class ErrorCost(Frozen):
    """A way of being wrong; by TIDE for objects, a pair of classes for whole pictures."""

    name: str
    title: str
    meaning: str
    advice: str
    count: int
    cost: float
    """The most that the main metric would gain if every error of this kind were put right."""


class Slice(Frozen):
    """A part of the test split."""

    family: str
    """size, class, label, density, study, recording or donor."""
    name: str
    about: str
    metric: str
    value: float
    overall: float
    """The same metric on the whole test split."""
    labels: int
    share: float
    """Of all labels of the family's slices."""

    @property
    def where(self) -> str:
        """As a sentence has it."""
        return f"{self.family} {self.name}"


class CurvePoint(Frozen):
    """One training of a learning curve."""

    state: str
    """finished, or failed."""
    groups: int
    frames: int
    seed: int
    dataset_version: Oid
    warnings: tuple[str, ...] = ()
    value: float | None = None
    steps: int = 0
    seconds: float = 0.0
    run_key: str = ""
    weights_oid: Oid | None = None
    evaluation_oid: Oid | None = None
    why: str | None = None


class LearningCurve(Frozen):
    """Scores on the same test split with more and more groups to learn from."""

    metric: str
    seeds: tuple[int, ...]
    points: tuple[CurvePoint, ...]
    rise: Rise | None
    """Over the last doubling; None where too few trainings finished."""
    complete: bool


class LabelNoise(Frozen):
    """Labels to look at again."""

    frames: int
    """That models were asked about which have not learned from them."""
    labels: int
    """Of these frames."""
    models: tuple[str, ...]
    """Who was asked."""
    doubts: tuple[DoubtfulLabel, ...]
    """The most certain first, as many as are listed."""
    counts: dict[str, int]
    """Of all of them, by sort: unlabelled, otherwise, unfound."""
    alone: int = 0
    """Of the labels that are unfound: those that a single model was asked about. What one misses may well be there."""
    explored: int | None
    """How many labels the exploration of the whole dataset suspects (a small model, cleanlab); None: it asked none."""

    @property
    def serious(self) -> dict[str, int]:
        """The counts without what a single model missed."""
        counts = {**self.counts, "unfound": self.counts.get("unfound", 0) - self.alone}
        return {sort: count for sort, count in counts.items() if count}


class TrainingHealth(Frozen):
    """How the model's training went."""

    epochs: int
    steps: int
    seconds: float
    metric: str | None
    """What was looked at epoch by epoch; None: nothing."""
    plateau: str | None
    """Since when it stood still, in words."""
    plateau_since: int | None
    rising: float | None
    """What the last fifth of its epochs added to the validation score."""
    still_best_epoch: int | None


class Advice(Frozen):
    """One sentence on what to do next, and the rule and the numbers that it follows from."""

    rule: str
    sentence: str
    worth: float | None
    """Of the main metric, as the rule estimates it; None: it brings knowledge."""
    numbers: dict[str, Any] = Field(default_factory=dict)


class DiagnosisReport(Frozen):
    """The whole diagnosis."""

    line: str
    kind: str
    model_version: str
    dataset_version: Oid
    images: int
    main: Measure
    advice: tuple[Advice, ...]
    """Three, the most valuable first."""
    errors: tuple[ErrorCost, ...]
    slices: tuple[Slice, ...]
    threshold: ThresholdGain | None
    """None where no score threshold decides, or nothing is there to be found."""
    label_noise: LabelNoise
    training: TrainingHealth | None
    learning_curve: LearningCurve | None
    unlearned: tuple[str, ...]
    """A sentence for each class that the model has learned nothing of."""
    not_run: tuple[str, ...]
    """Parts that were left out because they train, with the option that asks for them."""
    evaluation_oid: Oid
    seconds: float
    report_html: str = Field(exclude=True, repr=False, default="")
    """Stands in no blob: it shows pictures, and an erasure finds those of verdicts alone."""
