"""From what was found to three sentences on what to do next. The rules stand in docs/how-to/diagnose.md, word for word.

Each rule looks at one part of the findings and is worth what it may bring of the main metric; what is measured counts
in full, what is an upper bound (all errors of a kind put right, a slice brought to the level of the whole) by half.
Rules that bring knowledge, and nothing yet, follow in the order below.
"""

from __future__ import annotations

from collections.abc import Callable

from tasks.experiments.diagnosis.findings import Advice, DiagnosisReport, Slice
from tasks.experiments.diagnosis.learning_curve import trainings
from tasks.metrics.planning import clusters_for_width

SENTENCES = 3
LEAST_WORTH = 0.005
"""What a rule must bring to be said."""
BOUND = 0.5
"""What counts of an upper bound."""
LEAST_DOUBTS, LEAST_DOUBT_SHARE = 5, 0.01
LEAST_GAP = 0.05
"""Between a slice and the whole."""
WIDE = 0.1
"""An interval of that width tells too little."""
EARLY = 0.6
"""A training that stands still before so much of its epochs is longer than it needs to be."""

Rule = Callable[[DiagnosisReport], Advice | None]


def advise(found: DiagnosisReport) -> tuple[Advice, ...]:
    """The three most valuable sentences.

    Args:
        found: Everything but the advice.
    """
    said = [advice for rule in _WORTH for advice in [rule(found)] if advice and (advice.worth or 0.0) >= LEAST_WORTH]
    said.sort(key=lambda advice: -(advice.worth or 0.0))  # stable: of equal worth the first rule
    known = [advice for rule in _KNOWLEDGE for advice in [rule(found)] if advice]
    return tuple([*said, *known][:SENTENCES])


def unlearned(found: DiagnosisReport) -> Advice | None:
    """A class that nothing was learned of: worth half of what it is behind the best class, over the classes."""
    if not found.unlearned:
        return None
    classes = [one for one in found.slices if one.family in ("class", "label")]
    best = max((one.value for one in classes), default=found.main.value or 0.0)
    first = found.unlearned[0]
    own = next((one for one in classes if f" {one.name}:" in first), None)
    behind = best - (own.value if own else 0.0)
    worth = BOUND * behind / max(1, len(classes) + (own is None))
    return Advice(
        rule="unlearned", worth=worth, numbers={"behind": behind, "classes": len(classes)},
        sentence=f"The model has {first}: label more of it, or take it out of the line's classes.",
    )  # fmt: skip


def more_data(found: DiagnosisReport) -> Advice | None:
    """The learning curve still rises: worth the rise over the last doubling; half of it where that is not sure."""
    rise = found.learning_curve.rise if found.learning_curve else None
    if rise is None or rise.per_doubling < LEAST_WORTH:
        return None
    sure = rise.low is not None and rise.low > 0
    study = next((one for one in found.slices if one.family == "study" and one.value < one.overall), None)
    around = f", {rise.low:.3f} to {rise.high:.3f}" if rise.low is not None and rise.high is not None else ""
    what = (
        f"{rise.to_groups} more {_plural(found.main.noun, rise.to_groups)}{f' of study {study.name}' if study else ''}"
    )
    return Advice(
        rule="more_data", worth=rise.per_doubling * (1 if sure else BOUND),
        numbers={"per_doubling": rise.per_doubling, "low": rise.low, "high": rise.high, "groups": rise.to_groups},
        sentence=f"Label {what}: the curve still rises by {rise.per_doubling:.3f} {found.main.title} per doubling "
        f"(from {rise.from_groups} to {rise.to_groups}{around}{'' if sure else '; not sure'}).",
    )  # fmt: skip


def error_kind(found: DiagnosisReport) -> Advice | None:
    """The dearest kind of error: worth half of its cost."""
    if not found.errors:
        return None
    dearest = max(found.errors, key=lambda error: error.cost)
    what = dearest.advice.rstrip(".").replace("those below", "those in the verdict's report")  # written for that page
    return Advice(
        rule="error_kind", worth=BOUND * dearest.cost, numbers={"kind": dearest.name, "cost": dearest.cost},
        sentence=f"Work on the {dearest.count} errors of the kind {dearest.title.lower()} ({dearest.meaning}), which "
        f"cost at most {dearest.cost:.3f} {found.main.title}: {what[:1].lower()}{what[1:]}.",
    )  # fmt: skip


def threshold(found: DiagnosisReport) -> Advice | None:
    """Another score threshold: worth the F1 that one chosen on other groups gains, if that is surely more than 0."""
    own = found.threshold
    if own is None or own.gain is None or own.low is None or own.low <= 0:
        return None
    return Advice(
        rule="threshold", worth=own.gain,
        numbers={"shipped": own.shipped, "best": own.best, "gain": own.gain, "low": own.low, "high": own.high},
        sentence=f"Set the score threshold to {own.best:.2f} instead of {own.shipped:.2f} (evaluation: score_threshold "
        f"in the line's file): F1 rises from {own.shipped_F1:.3f} by about {own.gain:.3f}, without labels or training.",
    )  # fmt: skip


def labels(found: DiagnosisReport) -> Advice | None:
    """Labels that models contradict: worth half of their share of the labels that were looked at.

    A label that one model misses is an error of the model; one that several miss is a doubt.
    """
    noise, counts = found.label_noise, found.label_noise.serious
    number = sum(counts.values())
    share = number / noise.labels if noise.labels else 0.0
    if number < LEAST_DOUBTS or share < LEAST_DOUBT_SHARE:
        return None
    words = {
        "unlabelled": "confident predictions without a label", "otherwise": "labels that models call otherwise",
        "unfound": "labels that several models do not find",
    }  # fmt: skip
    parts = ", ".join(f"{counts[sort]} {text}" for sort, text in words.items() if sort in counts)
    return Advice(
        rule="labels", worth=BOUND * min(1.0, share), numbers={"doubts": number, "labels": noise.labels},
        sentence=f"Look again at labels that the report lists ({parts}): they are {share:.1%} of the "
        f"{noise.labels} labels of the {noise.frames} frames that models were asked about.",
    )  # fmt: skip


def weak_slice(found: DiagnosisReport) -> Advice | None:
    """The slice whose rise to the level of the whole would bring most: worth half of the gap times its weight.

    A class weighs one over the number of classes, as the main metric is their mean; any other slice its share of
    labels. A class that nothing was learned of is the first rule's.
    """
    counted = [
        (gap * _weight(found, one), one)
        for one in found.slices
        for gap in [one.overall - one.value]
        if gap >= LEAST_GAP and not any(f" {one.name}:" in sentence for sentence in found.unlearned)
    ]
    if not counted:
        return None
    most, weakest = max(counted, key=lambda item: item[0])
    return Advice(
        rule="weak_slice", worth=BOUND * most,
        numbers={"slice": weakest.where, "value": weakest.value, "overall": weakest.overall, "share": weakest.share},
        sentence=f"{_what_to_do(weakest)}: {weakest.metric} is {weakest.value:.3f} there and {weakest.overall:.3f} on "
        f"the whole test split ({weakest.labels} labels).",
    )  # fmt: skip


def train_longer(found: DiagnosisReport) -> Advice | None:
    """The training was still getting better in its last tenth: worth half of what its last fifth added."""
    own = found.training
    if own is None or own.rising is None or own.still_best_epoch is None or own.still_best_epoch <= 0.9 * own.epochs:
        return None
    return Advice(
        rule="train_longer", worth=BOUND * own.rising, numbers={"rising": own.rising, "epochs": own.epochs},
        sentence=f"Train longer than {own.epochs} epochs (epochs, or min_steps): the last fifth of them still added "
        f"{own.rising:.3f} to {own.metric}.",
    )  # fmt: skip


def test_more(found: DiagnosisReport) -> Advice | None:
    """The main metric's interval is wider than 0.1: so many test groups would probably halve it."""
    main = found.main
    if main.value is None:
        return Advice(
            rule="test_more", worth=None, numbers={"groups": main.groups},
            sentence="Label frames of the test split: without a label there, nothing can be measured.",
        )  # fmt: skip
    many = _plural(main.noun, main.groups)
    if main.low is None or main.high is None:
        return Advice(
            rule="test_more", worth=None, numbers={"groups": main.groups},
            sentence=f"Label test frames of more {_plural(main.noun, 2)}: of {main.groups} {many} nobody can tell how "
            f"sure {main.title} {main.value:.{main.digits}f} is.",
        )  # fmt: skip
    width = main.high - main.low
    if width < WIDE:
        return None
    needed = clusters_for_width(width, main.groups, 1 - (1 - main.confidence) / 2, width / 2)
    enough = f"about {needed} in all would probably halve that" if needed else "far more would be needed to halve that"
    return Advice(
        rule="test_more", worth=None, numbers={"low": main.low, "high": main.high, "needed": needed},
        sentence=f"Label test frames of more {_plural(main.noun, 2)}: {main.title} lies anywhere from "
        f"{main.low:.{main.digits}f} to {main.high:.{main.digits}f} on {main.groups} {many}, and {enough}.",
    )  # fmt: skip


def enough_data(found: DiagnosisReport) -> Advice | None:
    """The last doubling of the groups brought next to nothing."""
    rise = found.learning_curve.rise if found.learning_curve else None
    if rise is None or rise.per_doubling >= LEAST_WORTH:
        return None
    return Advice(
        rule="enough_data", worth=None, numbers={"per_doubling": rise.per_doubling},
        sentence=f"Do not label more of the same: doubling the data from {rise.from_groups} to {rise.to_groups} "
        f"{_plural(found.main.noun, rise.to_groups)} brought {rise.per_doubling:+.3f} {found.main.title}.",
    )  # fmt: skip


def measure_curve(found: DiagnosisReport) -> Advice | None:
    """Nobody knows yet whether more data would help."""
    if found.learning_curve and found.learning_curve.rise:
        return None
    number = trainings(3)
    took = f", about {number * found.training.seconds / 3600:.1f} h at the most" if found.training else ""
    return Advice(
        rule="measure_curve", worth=None, numbers={"trainings": number},
        sentence=f"Find out whether more data would help: `nightscope diagnose {found.line} --learning-curve` trains "
        f"{number} times{took}.",
    )  # fmt: skip


def train_shorter(found: DiagnosisReport) -> Advice | None:
    """The training stood still from early on."""
    own = found.training
    if own is None or own.plateau_since is None or own.plateau_since >= EARLY * own.epochs:
        return None
    return Advice(
        rule="train_shorter", worth=None, numbers={"since": own.plateau_since, "epochs": own.epochs},
        sentence=f"Train shorter, or with another learning rate: after epoch {own.plateau_since} of {own.epochs} "
        f"nothing got better ({own.metric}).",
    )  # fmt: skip


def cross_validate(found: DiagnosisReport) -> Advice | None:
    """Only the test split was looked at by a model that has not learned from it."""
    if any(who.startswith("fold ") for who in found.label_noise.models):
        return None
    return Advice(
        rule="cross_validate", worth=None, numbers={"frames": found.label_noise.frames},
        sentence=f"Have every label looked at by a model that has not learned from it, not only those of "
        f"{found.label_noise.frames} frames: `nightscope cross-validate {found.line}`, then diagnose again.",
    )  # fmt: skip


def search(found: DiagnosisReport) -> Advice | None:
    """Nothing points anywhere: let the machine try."""
    return Advice(
        rule="search", worth=None,
        sentence=f"Let the machine try other values of the recipe: `nightscope search {found.line} --space FILE`.",
    )  # fmt: skip


def leave_it(found: DiagnosisReport) -> Advice | None:
    """Nothing more was found."""
    return Advice(
        rule="leave_it", worth=None,
        sentence="Let it work: nothing else that was measured here speaks against the model.",
    )  # fmt: skip


_WORTH: tuple[Rule, ...] = (unlearned, more_data, error_kind, threshold, labels, weak_slice, train_longer)
_KNOWLEDGE: tuple[Rule, ...] = (
    test_more, enough_data, measure_curve, train_shorter, cross_validate, search, leave_it,
)  # fmt: skip
RULES = (*_WORTH, *_KNOWLEDGE)
"""In the order that counts where two are worth the same; docs/how-to/diagnose.md has a row for each."""


def _weight(found: DiagnosisReport, one: Slice) -> float:
    if one.family in ("class", "label"):
        return 1 / sum(each.family == one.family for each in found.slices)
    return one.share


def _what_to_do(one: Slice) -> str:
    """The beginning of a sentence about a slice."""
    match one.family:
        case "size":
            return f"Train at a larger input size (imgsz), or label more frames with {one.name} objects ({one.about})"
        case "class" | "label":
            return f"Label more of {one.name}"
        case "density":
            return f"Label more frames with {one.name}"
        case "study":
            return f"Label more recordings of study {one.name}"
        case _:
            return f"Look at the frames and labels of {one.where}, and label more that are like it"


def _plural(noun: str, number: int) -> str:
    return noun if number == 1 else f"{noun}s"
