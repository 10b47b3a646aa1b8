"""The model card: what a model is for, what it was measured to do, and where nothing is known.

After Mitchell et al. 2019, "Model Cards for Model Reporting": intended use, data, metrics by slice with intervals,
limits. Made from the evidence alone, so that it says nothing that cannot be verified. Markdown: MLflow renders it, and
anybody can read it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from jinja2 import Environment, StrictUndefined

from tasks.config import Line
from tasks.escaping import markdown
from tasks.evaluation.evaluation import Evaluation
from tasks.evaluation.unlearned import unlearned
from tasks.evidence.bundle import Bundle
from tasks.kind import Kind, Words
from tasks.known_kinds import known_kinds
from tasks.metrics.judgement import PARTS, Metric, metric_of_slices
from tasks.schemas import NightState, Recording

NOT_MEDICAL = (
    "Not a medical device. It was made for research, was not assessed for clinical use, and must not decide about "
    "anybody's diagnosis or treatment."
)
_SLICE = "per_"
_SHOWN_WEAK = 3
_WIDE = 0.2
_FEW_CLUSTERS = 5  # fewer cannot carry 95 %: they may all lie on one side by chance, as coins may fall alike


@dataclass(frozen=True)
class Row:
    """One metric, overall or in a slice: the model's value with its interval, and what it was measured on."""

    slice: str
    metric: Metric
    value: float | None
    low: float | None
    high: float | None
    champion: float | None
    labels: int | None

    @property
    def shown(self) -> str:
        """The value with its interval."""
        if self.value is None:
            return "not measured"
        digits = self.metric.digits
        unit = f" {self.metric.unit}" if self.metric.unit else ""
        if self.low is None or self.high is None:
            return f"{self.value:.{digits}f}{unit}"
        return f"{self.value:.{digits}f} ({self.low:.{digits}f} to {self.high:.{digits}f}){unit}"

    @property
    def champion_shown(self) -> str:
        """The champion's value at that time."""
        return "–" if self.champion is None else f"{self.champion:.{self.metric.digits}f}"


def render(bundle: Bundle, line: Line | None, evaluation: Evaluation | None, recordings: Sequence[Recording]) -> str:
    """The card of the bundle's model version, as Markdown.

    Args:
        bundle: Complete but for the card itself.
        line: As it was judged; None: nobody wrote it down.
        evaluation: What it was judged from; None: it never was.
        recordings: Of its dataset version.
    """
    environment = Environment(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, autoescape=False)
    environment.filters["md"] = escape
    template = environment.from_string(files("tasks.evidence").joinpath("model_card.md.j2").read_text("utf-8"))
    model = _model(bundle)
    return template.render(
        bundle=bundle,
        line=line,
        title=line.title if line and line.title else bundle.line,
        use=intended_use(line, model.registered if model else {}),
        not_medical=NOT_MEDICAL,
        words=words_of(line.kind if line else str((model.registered if model else {}).get("kind", ""))),
        status=status(bundle),
        model=model,
        training=(model.training if model else None) or {},
        data=bundle.data,
        counts=bundle.data.about.get("counts", {}) if bundle.data else {},
        collection=collection(recordings),
        evaluation=evaluation,
        overall=[row for row in _rows(evaluation) if not row.slice],
        slices=[row for row in _rows(evaluation) if row.slice and row.metric.paired],
        limits=limits(bundle, line, evaluation),
        hashes=[one for one in bundle.objects if one.what.startswith(("manifest", "weights", "eval", "pred", "line"))],
    )


def summary(bundle: Bundle, bundle_oid: str, evaluation: Evaluation | None) -> str:
    """The card in short, for MLflow's list of versions."""
    parts = [f"**{status(bundle)}**", NOT_MEDICAL]
    main = [row for row in _rows(evaluation) if not row.slice and row.metric.paired][:2]
    if evaluation and main:
        numbers = "; ".join(f"{row.metric.title} {row.shown}" for row in main)
        images = Kind.named(evaluation.kind).words.images
        on = f"{evaluation.images} {images}"
        on += "" if evaluation.cluster_noun == "picture" else f" of {_clusters(evaluation)}"
        parts.append(f"On {on}: {numbers}.")
    if bundle.verdict:
        parts.append(escape(bundle.verdict.reasons[0]) if bundle.verdict.reasons else bundle.verdict.verdict.value)
    parts.append(
        f"The whole card: artifact `model-card.md` of its run. Evidence {bundle.number} of line {bundle.line}: "
        f"`{bundle_oid}`; check it with `nightscope verify {bundle.line} {bundle.model_version}`."
    )
    return "\n\n".join(parts)


def intended_use(line: Line | None, registered: Mapping[str, Any]) -> str:
    """What the line says the model is for, or what models of its kind are for."""
    if line and line.intended_use.strip():
        return line.intended_use.strip()
    kind = line.kind if line else str(registered.get("kind", ""))
    names = list(line.classes) if line else [str(name) for name in registered.get("classes", ())]
    classes = " and ".join(filter(None, (", ".join(names[:-1]), names[-1]))) if names else "its classes"
    does, words = _use(kind).format(classes=classes), words_of(kind)
    of_recordings = words.image == "frame"
    sources = "recordings" if of_recordings else words.images
    return (
        f"It {does}{' of' if of_recordings else ', for'} {sources} that were made like those it learned from: the same "
        f"kind of sample, microscope or probe, magnification and {words.image} size. It supports a person who can look "
        f"at the {words.images}, and replaces nobody. {sources.capitalize()} of other laboratories, instruments or "
        "preparations are outside what it was measured on."
    )


def _use(kind: str) -> str:
    """What models of a kind are for; of one that is not here any more, in general."""
    return Kind.named(kind).use if kind in known_kinds() else "looks for {classes} in single frames"


def words_of(kind: str) -> Words:
    """How a kind calls its images and labels; of one that is not here any more, in general."""
    return Kind.named(kind).words if kind in known_kinds() else Words()


def status(bundle: Bundle) -> str:
    """How it came out for the model, in a sentence."""
    day, who = f"{bundle.made_at:%Y-%m-%d}", f" by {escape(bundle.by)}" if bundle.by else ""
    words = {
        NightState.PROMOTED: "put in charge",
        NightState.ROLLED_BACK: "put in charge again by a rollback",
        NightState.HELD: "held: not put in charge",
        NightState.REJECTED: "rejected: not put in charge",
        NightState.INSUFFICIENT_DATA: "not put in charge: too little data to judge by",
    }
    beyond = ", against its verdict" if bundle.override else ""
    became = words.get(bundle.outcome, bundle.outcome.value)
    return f"Model version {bundle.model_version}: {became}{who}{beyond}, {day}."


def collection(recordings: Sequence[Recording]) -> list[str]:
    """Where and when the recordings come from, in sentences."""
    if not recordings:
        return []
    days = sorted(recording.ingested_at for recording in recordings)
    studies = sorted({recording.study for recording in recordings if recording.study})
    donors = {recording.donor for recording in recordings if recording.donor}
    sizes = sorted({f"{recording.width_px} x {recording.height_px}" for recording in recordings})
    scaled = sum(recording.um_per_px is not None for recording in recordings)
    unknown = sum(recording.donor is None for recording in recordings)
    first, last = f"{days[0]:%Y-%m-%d}", f"{days[-1]:%Y-%m-%d}"
    when = f"on {first}" if first == last else f"between {first} and {last}"
    return [
        f"{len(recordings)} recordings, added {when}; studies: {', '.join(map(escape, studies)) or 'none named'}.",
        f"Donors: {len(donors)} named. {unknown} recordings name none, and each counts as a donor of its own.",
        f"Frame sizes: {', '.join(sizes[:6])}{' and others' if len(sizes) > 6 else ''} px; "
        f"{scaled} of {len(recordings)} recordings have a scale (micrometres per pixel).",
    ]


def limits(bundle: Bundle, line: Line | None, evaluation: Evaluation | None) -> list[str]:
    """Where the model is weak, and where nobody knows."""
    if evaluation is None:
        return ["It was never judged: nothing is known of how good it is."]
    kind = Kind.named(evaluation.kind)
    found = [f"Of one of its classes: {escape(sentence)}." for sentence in unlearned(evaluation, kind)]
    main, words = metric_of_slices(kind.metrics.METRICS, evaluation.metrics), kind.words
    rows = [row for row in _rows(evaluation) if row.slice and row.metric.name == main.name]
    known = [row for row in rows if row.value is not None]
    sign = 1 if main.better == "higher" else -1
    for row in sorted(known, key=lambda row: sign * (row.value or 0.0))[:_SHOWN_WEAK]:
        on = f", on {row.labels} {words.thing if row.labels == 1 else words.things}" if row.labels is not None else ""
        found.append(f"Among its weakest: {escape(row.slice)}, {main.title} {row.shown}{on}.")
    silent = [escape(row.slice) for row in rows if row.value is None]
    if silent:
        found.append(f"Nothing was measured for {', '.join(silent)}: the test split holds no such {words.thing}.")
    needed = max(_FEW_CLUSTERS, line.evaluation.min_clusters if line else 0)
    if len(evaluation.clusters) < needed:
        found.append(
            f"The test split holds {_clusters(evaluation)}; {needed} are wanted before a difference counts. "
            "Intervals over so few are too narrow."
        )
    wide = [row for row in rows if row.low is not None and row.high is not None and row.high - row.low > _WIDE]
    if wide:
        found.append(f"Intervals wider than {_WIDE}: {', '.join(escape(row.slice) for row in wide)}.")
    if evaluation.champion is None:
        found.append("It is its line's first: it was compared with no other model, and judged by absolute gates alone.")
    for warning in bundle.data.about.get("warnings", ()) if bundle.data else ():
        found.append(f"Of its data: {escape(str(warning))}")
    for clear in (bundle.data.about.get("leak_check") or {}).get("cleared_by_people", ()) if bundle.data else ():
        found.append(
            f"The leak audit found that two recordings in different splits look the same (pair {clear['pair_id']}). "
            f"{escape(str(clear['by']))} decided that they are not copies: {escape(str(clear['note']))}"
        )
    found.append("All test recordings come from the same line as those it learned from: nothing is known beyond them.")
    return found


def escape(text: str) -> str:
    """Text that Markdown takes for nothing but text, on one line."""
    return markdown(text)


def _model(bundle: Bundle) -> Any:
    return next((one for one in bundle.models.values() if one.model_version == bundle.model_version), None)


def _clusters(evaluation: Evaluation) -> str:
    count, noun = len(evaluation.clusters), evaluation.cluster_noun
    return f"{count} test {noun}{'' if count == 1 else 's'}"


def _rows(evaluation: Evaluation | None) -> Iterator[Row]:
    """Every metric overall, then in each slice (per recording left out: those are not slices of the world)."""
    if evaluation is None:
        return
    trees: list[tuple[str, Mapping[str, Any], Mapping[str, Any], Mapping[str, Any]]] = [
        ("", evaluation.metrics, evaluation.challenger.intervals, evaluation.champion_metrics or {})
    ]
    for family in sorted(evaluation.metrics):
        if family.startswith(_SLICE) and family not in PARTS:
            for name, own in evaluation.metrics[family].items():
                intervals = (evaluation.challenger.intervals.get(family) or {}).get(name) or {}
                theirs = ((evaluation.champion_metrics or {}).get(family) or {}).get(name) or {}
                trees.append((f"{family.removeprefix(_SLICE)} {name}", own, intervals, theirs))
    for where, values, intervals, theirs in trees:
        for metric in Kind.named(evaluation.kind).metrics.METRICS:
            if metric.name in values:
                interval = intervals.get(metric.name) or {}
                yield Row(
                    slice=where,
                    metric=metric,
                    value=values[metric.name],
                    low=interval.get("low"),
                    high=interval.get("high"),
                    champion=theirs.get(metric.name),
                    labels=values.get("labels"),
                )
