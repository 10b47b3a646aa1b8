"""The nouns of an evaluation, and reading one back from the lake."""

from __future__ import annotations

import json
from typing import Any, Literal

from pydantic import Field, ValidationError

from tasks.errors import IntegrityError
from tasks.kind import FrameView, ModelRef
from tasks.lake import Lake
from tasks.metrics.bootstrap import bounds
from tasks.metrics.judgement import ErrorKind, MetricPath, address, find
from tasks.schemas import Frozen, Interval, Oid


class Latency(Frozen):
    """Time for one image at a time, after warm-up: from decoded image to finished predictions."""

    device: str
    hardware: str
    images: int
    latency_ms_p50: float
    latency_ms_p95: float
    fps: float | None = Field(default=None, description="Images per second, one after the other.")
    peak_memory_mib: float | None = Field(
        default=None, description="Of the GPU; on the CPU of the whole process, libraries included."
    )


class Plot(Frozen):
    """Lines of a plot; x and y both run from 0 to 1."""

    title: str
    x_title: str
    y_title: str
    series: dict[str, tuple[tuple[float, ...], tuple[float, ...]]]
    diagonal: bool = False
    chance: bool = Field(default=False, description="Whether the diagonal is where guessing lies.")
    metric: str = Field(default="", description="Of each line's slice, shown beside its name.")


class Table(Frozen):
    """What was labelled and what was predicted, as counts; see `tasks.metrics.judgement.Confusion`."""

    rows: tuple[str, ...]
    columns: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]
    nothing: bool = Field(default=True, description="Whether the last row and column are no classes.")
    rows_are: Literal["predicted", "labelled", "labels"] = "predicted"


class ModelResult(Frozen):
    """What one model did on the test split.

    `metrics` is a tree: AP50, AP50_95, precision, recall ... of the kind, latency_ms_p50, latency_ms_p95,
    model_size_mb, labels, count_per_frame, per_class, per_size, per_recording (of many single pictures per_donor, where
    donors are known), per_study (where the split has several). None = nothing there to measure it on.
    `intervals` has the same shape.
    """

    model: ModelRef
    metrics: dict[str, Any]
    intervals: dict[str, Any]
    predictions_oid: Oid
    latencies: tuple[Latency, ...]
    plots: tuple[Plot, ...] = ()
    confusion: Table | None = None
    breakdown: tuple[ErrorKind, ...] = Field(default=(), description="Errors by kind, and what each kind costs.")
    worst: tuple[FrameView, ...] = ()


class Difference(Frozen):
    """Challenger minus champion in one metric, on every draw of the paired bootstrap."""

    path: MetricPath
    value: float | None
    clusters: int = Field(description="Clusters of the test split in which there is anything to measure it on.")
    draws: tuple[float | None, ...] = ()

    def bounds(self, confidence: float) -> tuple[float | None, float | None]:
        """One-sided bounds, each at `confidence`; None where fewer than two clusters carry the metric."""
        return bounds([float("nan") if draw is None else draw for draw in self.draws], confidence, self.clusters)

    def interval(self, confidence: float) -> Interval:
        """The two-sided interval."""
        low, high = self.bounds(1 - (1 - confidence) / 2)
        return Interval(low=low, high=high, confidence=confidence)


class PairedTest(Frozen):
    """McNemar's exact test of both models on the same images; reported, no gate goes by it."""

    name: str = Field(description="What was asked of each image: 'pictures', or a label of a multi-label line.")
    both: int = Field(description="Images on which both are right.")
    only_challenger: int
    only_champion: int
    neither: int
    p_value: float


class Evaluation(Frozen):
    """Both models on the same test split. Deterministic but for the latencies."""

    line: str
    kind: str
    classes: tuple[str, ...]
    dataset_version: str
    split: Literal["train", "val", "test"] = "test"
    images: int
    recordings: tuple[str, ...]
    clusters: tuple[str, ...] = Field(description="Donors, else recordings: what the bootstrap draws.")
    device: str
    confidence: float
    resamples: int
    seed: int
    challenger: ModelResult
    champion: ModelResult | None = None
    differences: tuple[Difference, ...] = Field(default=(), description="Empty without a champion.")
    beside: tuple[FrameView, ...] = Field(
        default=(), description="What the champion did on the challenger's worst frames, in their order."
    )
    paired_tests: tuple[PairedTest, ...] = Field(
        default=(), description="Empty without a champion, and where an image is more than one question."
    )
    measured_by: str = Field(default="", description="`provenance.code_of('evaluation', kind)` of its code.")

    @property
    def of_pictures(self) -> bool:
        """Whether its recordings are single pictures."""
        return len(self.recordings) == self.images > 1

    @property
    def cluster_noun(self) -> str:
        """What a cluster is: 'donor', 'recording', or 'picture' where each recording is a single one."""
        if self.clusters and all(name.startswith("donor:") for name in self.clusters):
            return "donor"
        return "picture" if self.of_pictures else "recording"

    @property
    def metrics(self) -> dict[str, Any]:
        """The challenger's."""
        return self.challenger.metrics

    @property
    def champion_metrics(self) -> dict[str, Any] | None:
        """The champion's on this very split; None without one."""
        return self.champion.metrics if self.champion else None

    @property
    def intervals(self) -> dict[str, Any]:
        """The challenger's, and those of the differences under `differences`: {low, high, confidence} each."""
        out: dict[str, Any] = dict(self.challenger.intervals)
        differences: dict[str, Any] = {}
        for difference in self.differences:
            node = differences
            for part in difference.path[:-1]:
                node = node.setdefault(part, {})
            node[difference.path[-1]] = {
                "value": difference.value,
                **difference.interval(self.confidence).model_dump(),
            }
        return {**out, "differences": differences}

    def difference(self, metric: str, where: str | None = None) -> Difference | None:
        """Challenger minus champion, overall or in a slice such as 'class.sperm'."""
        path = address(metric, where)
        return next((found for found in self.differences if found.path == path), None)

    def value(self, metric: str, where: str | None = None) -> float | None:
        """The challenger's metric."""
        found = find(self.metrics, address(metric, where))
        return None if found is None else float(found)

    def champion_value(self, metric: str, where: str | None = None) -> float | None:
        """The champion's metric."""
        found = find(self.champion_metrics, address(metric, where))
        return None if found is None else float(found)


def load_evaluation(lake: Lake, evaluation_oid: Oid) -> Evaluation:
    """Read a stored evaluation.

    Raises:
        NotFound: The lake does not hold it.
        IntegrityError: Its bytes are not what the oid says, or are no evaluation.
    """
    data = lake.blobs.get_bytes(evaluation_oid)
    try:
        return Evaluation.model_validate(json.loads(data))
    except (ValueError, ValidationError) as error:
        raise IntegrityError(f"blob {evaluation_oid}: is no evaluation: {error}") from error
