"""What a gate finds in one place: overall, or in one slice."""

from __future__ import annotations

from dataclasses import dataclass

from tasks.config import Gate, Line
from tasks.evaluation.evaluation import Evaluation
from tasks.kind import Kind
from tasks.metrics.judgement import Metric, address, find
from tasks.schemas import Decision, GateResult, Interval, SliceFinding


@dataclass(frozen=True)
class Asked:
    """One gate's question about one evaluation, everywhere it is asked."""

    line: Line
    kind: Kind
    gate: Gate
    metric: Metric
    evaluation: Evaluation

    def labels(self, where: str | None) -> int:
        """Labelled objects of the test split, in all or in a slice."""
        return int(find(self.evaluation.metrics, address("labels", where)) or 0)


@dataclass(frozen=True)
class Finding:
    """The answer in one place.

    Attributes:
        decision: None: the test split holds nothing to ask about.
        reason: A sentence that stands alone.
        brief: The same as a part of a sentence about many places.
        value, champion_value: Of both models.
        difference: Two-sided, made of the gate's two one-sided bounds.
        clusters: What the difference rests on.
    """

    decision: Decision | None
    reason: str
    brief: str
    value: float | None = None
    champion_value: float | None = None
    difference: Interval | None = None
    clusters: int | None = None

    def as_gate_result(self, gate: Gate) -> GateResult:
        """Of a gate that asks in one place; nothing to ask about is too little data."""
        return GateResult(
            gate=gate.id,
            decision=self.decision or Decision.INSUFFICIENT_DATA,
            reason=self.reason,
            value=self.value,
            threshold=gate.threshold,
            champion_value=self.champion_value,
            difference=self.difference,
        )

    def as_slice(self, where: str) -> SliceFinding:
        """Of a gate that asks in many."""
        return SliceFinding(
            slice=where,
            decision=self.decision,
            reason=self.reason,
            value=self.value,
            champion_value=self.champion_value,
            difference=self.difference,
            clusters=self.clusters,
        )
