"""The parts of a line: what it learns from, how it trains, and who is asked."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    model_validator,
)

from tasks.config.limits import LARGEST
from tasks.schemas import Frozen, Recording


class ClassSpec(Frozen):
    """One class of a line, as annotators see it."""

    hotkey: str | None = Field(default=None, max_length=1)
    color: str | None = None
    aliases: tuple[str, ...] = Field(default=(), description="Names this class has in foreign label files.")


class RecordingFilter(Frozen):
    """Which recordings a line learns from; empty = all."""

    studies: tuple[str, ...] = ()
    except_studies: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _no_study_is_in_both(self) -> RecordingFilter:
        if both := sorted(set(self.studies) & set(self.except_studies)):
            raise ValueError(f"`studies` and `except_studies` both name {', '.join(both)}; name a study in one of them")
        return self

    def takes(self, study: str | None) -> bool:
        """Whether the line learns from recordings of this study; None: from those of no study."""
        return (not self.studies or study in self.studies) and study not in self.except_studies

    def __str__(self) -> str:
        taken = f"the studies {', '.join(self.studies)}" if self.studies else "all studies"
        return f"{taken} except {', '.join(self.except_studies)}" if self.except_studies else taken


class FrameSampling(Frozen):
    """Which frames of a recording are put before annotators."""

    every_s: float = Field(
        default=1.0, gt=0, allow_inf_nan=False, description="One frame every so many seconds of presentation time."
    )
    max_per_recording: int = Field(default=60, ge=1)
    near_duplicate_bits: int = Field(
        default=2,
        ge=0,
        le=64,
        description="A frame whose perceptual hash differs from the last kept one by fewer bits "
        "is left out; 0 keeps all.",
    )


class SplitPlan(Frozen):
    """What keeps together, and the fractions to aim at."""

    group: Literal["donor", "recording"] = "donor"
    train: float = Field(default=0.7, gt=0, lt=1)
    val: float = Field(default=0.15, ge=0, lt=1)
    test: float = Field(default=0.15, gt=0, lt=1)

    @model_validator(mode="after")
    def _sum_to_one(self) -> Self:
        total = self.train + self.val + self.test
        if abs(total - 1) > 1e-6:
            raise ValueError(f"train + val + test must be 1, found {total:g}")
        return self

    def group_of(self, recording: Recording) -> str:
        """The group that keeps a recording's frames in one split: its donor if known and wanted, else itself."""
        return recording.group if self.group == "donor" else f"recording:{recording.recording_id}"


class Minimums(Frozen):
    """What a dataset must have before the line trains."""

    recordings: int = Field(default=3, ge=1)
    labels: dict[str, int] = Field(default_factory=dict, description="Class -> labelled objects over all splits.")
    labels_per_split: dict[str, int] = Field(
        default_factory=dict, description="Class -> labelled objects each of train and test must hold."
    )


class Plausibility(Frozen):
    """How large a labelled object can be in this line; outside = quarantine."""

    min_side_px: float = Field(default=2.0, ge=0, allow_inf_nan=False)
    max_side_fraction: float = Field(default=0.9, gt=0, le=1, description="Longest side over the frame's.")


class RecipeChoice(BaseModel):
    """A recipe by name, and the values this line changes. The values are checked by the line's kind."""

    model_config = ConfigDict(frozen=True, extra="allow")

    name: str
    seed: int = Field(default=0, ge=0, le=2**31 - 1, strict=True)

    @property
    def changes(self) -> dict[str, Any]:
        """Everything but the name and the seed."""
        return dict(self.model_extra or {})


class EvaluationPlan(Frozen):
    """How models are compared."""

    confidence: float = Field(default=0.95, gt=0.5, lt=1, description="Of the intervals that a report shows.")
    resamples: int = Field(default=1000, ge=100, le=20_000)
    seed: int = Field(default=0, ge=0, le=LARGEST)
    small_px: float = Field(
        default=32.0, gt=0, allow_inf_nan=False, description="Objects below this side (sqrt of area) are 'small'."
    )
    large_px: float = Field(
        default=96.0, gt=0, allow_inf_nan=False, description="Objects from this side on are 'large'."
    )
    min_clusters: int = Field(
        default=5, ge=2, description="Test donors (else recordings) needed before a difference counts."
    )
    max_interval_width: float | None = Field(
        default=None,
        gt=0,
        allow_inf_nan=False,
        description="A difference whose interval is wider is insufficient data, unless it surely fails.",
    )
    score_threshold: float | None = Field(
        default=None, ge=0, le=1, description="For precision, recall, F1, counts; default: the one of highest F1."
    )


class ApprovalPlan(Frozen):
    """Whether a person must agree before a challenger that passed its gates takes charge."""

    required: bool = False
    timeout_h: float = Field(default=72.0, gt=0, le=24 * 90, description="No answer by then: hold.")
    assigned_to: tuple[str, ...] = Field(
        default=(), description="Who may answer: Airflow users, 'os:1000' for a shell; empty: any who may."
    )
    four_eyes: bool = Field(
        default=False, description="Who triggered the night or the promotion cannot be the one who approves it."
    )

    @model_validator(mode="after")
    def _four_eyes_need_a_question(self) -> Self:
        if self.four_eyes and not self.required:
            raise ValueError("four_eyes: true needs required: true (nobody is asked otherwise)")
        return self

    def may_answer(self, who: str) -> bool:
        """Whether `assigned_to` lets this person ('airflow:eva', 'os:1000/alice') answer."""
        names = {name if name.startswith(("os:", "airflow:")) else f"airflow:{name}" for name in self.assigned_to}
        return not names or who in names or (who.startswith("os:") and who.partition("/")[0] in names)

    @property
    def airflow_users(self) -> tuple[str, ...]:
        """Those of `assigned_to` who answer in Airflow."""
        return tuple(name.removeprefix("airflow:") for name in self.assigned_to if not name.startswith("os:"))


class AnnotatorChoice(Frozen):
    """Whose work counts where several people labelled one frame. Nothing is merged.

    Ground truth comes first, then what a reviewer accepted (and last what one rejected), then these names, then `else`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    prefer: tuple[str, ...] = Field(
        default=(), description="People as Label Studio names them (their e-mail address), the most trusted first."
    )
    else_: Literal["newest"] = Field(default="newest", alias="else", description="Among all others: the newest work.")

    def rank_of(self, annotator: str) -> int:
        """How much somebody's work is preferred; 0: not by name."""
        names = [name.strip().casefold() for name in self.prefer]
        wanted = annotator.strip().casefold()
        return len(names) - names.index(wanted) if wanted in names else 0
