"""The worst whole pictures, with what each model made of them, in values that the report's template only has to place.

Frames with outlines are drawn as they are (`plots.outlines`); a whole picture has labels and probabilities instead.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from tasks.evaluation.evaluation import Evaluation
from tasks.evaluation.wording import listed
from tasks.kind import FrameView, PictureLabel
from tasks.schemas import Oid

SHOWN_CLASSES = 8
"""Of one picture: those labelled or predicted, and the most probable others."""


@dataclass(frozen=True)
class Bar:
    """One class of a picture: its label, and its probability by both models, in percent of the bar."""

    label: PictureLabel
    score: float
    before: float | None


@dataclass(frozen=True)
class Card:
    """One picture of the gallery.

    Attributes:
        name: Of the picture.
        image, heat: JPEGs as base64; None where there is none.
        heat_of: The class that the heat is about.
        challenger, champion: What each made of it, in words.
        champion_right: Whether the champion made no mistake here; None without one.
        bars: Class by class.
        more: How many classes are not shown.
    """

    name: str
    image: Markup
    heat: Markup | None
    heat_of: str
    challenger: str
    champion: str
    champion_right: bool | None
    bars: tuple[Bar, ...]
    more: int


def cards(evaluation: Evaluation, images: Mapping[Oid, bytes], heats: Mapping[Oid, tuple[bytes, str]]) -> list[Card]:
    """The worst whole pictures. `heats`: by oid a JPEG with the saliency over it, and the class it is about."""
    before = {view.frame_oid: view for view in evaluation.beside}
    return [
        _card(view, before.get(view.frame_oid), images[view.frame_oid], heats.get(view.frame_oid))
        for view in evaluation.challenger.worst
        if view.whole and view.frame_oid in images
    ]


def _card(view: FrameView, before: FrameView | None, image: bytes, heat: tuple[bytes, str] | None) -> Card:
    theirs = {each.label: each.score for each in before.whole} if before else {}
    shown = _shown(view.whole)
    return Card(
        name=view.recording_name if not view.frame_index else f"{view.recording_name}, frame {view.frame_index}",
        image=_base64(image),
        heat=_base64(heat[0]) if heat else None,
        heat_of=heat[1] if heat else "",
        challenger=in_words(view.whole),
        champion=in_words(before.whole) if before else "",
        champion_right=before.errors == 0 if before else None,
        bars=tuple(
            Bar(each, 100 * (each.score or 0.0), None if (own := theirs.get(each.label)) is None else 100 * own)
            for each in shown
        ),
        more=len(view.whole) - len(shown),
    )


def _base64(data: bytes) -> Markup:
    return Markup(base64.b64encode(data).decode())


def _shown(labels: Sequence[PictureLabel]) -> tuple[PictureLabel, ...]:
    """The classes that matter here, in the line's order."""
    order = sorted(labels, key=lambda each: (not (each.labelled or each.predicted), -(each.score or 0.0)))
    kept = {each.label for each in order[:SHOWN_CLASSES]}
    return tuple(each for each in labels if each.label in kept)


def in_words(labels: Sequence[PictureLabel]) -> str:
    """'normal taken for amorphous, 0.93'; of several labels 'missed acrosome; claimed head, which is not there'."""
    predicted = [each for each in labels if each.predicted]
    labelled = [each for each in labels if each.labelled]
    if len(predicted) == len(labelled) == 1 and all(each.labelled is not None for each in labels):
        sure = f", {predicted[0].score:.2f}" if predicted[0].score is not None else ""
        if predicted[0].label == labelled[0].label:
            return f"{predicted[0].label}{sure}"
        return f"{labelled[0].label} taken for {predicted[0].label}{sure}"
    missed = [each.label for each in labels if each.state == "missed"]
    claimed = [each.label for each in labels if each.state == "wrong"]
    parts = [f"missed {listed(missed)}"] if missed else []
    parts += [f"claimed {listed(claimed)}, which is not there" if len(claimed) == 1
              else f"claimed {listed(claimed)}, which are not there"] if claimed else []  # fmt: skip
    return "; ".join(parts) or "all labels right"
