"""Have a line's champion complete what annotators only began."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from tasks.errors import ConfigError
from tasks.kinds import kind_of
from tasks.session import Session
from tasks.steps.labels import sync_annotations

if TYPE_CHECKING:
    from tasks.labeling.filling import FillReport


def fill_labels(session: Session, line: str, device: str | None = "cpu") -> FillReport:
    """Put masks for all boxes "to be filled" before the annotators, by the line's champion.

    Args:
        session: Whose Label Studio.
        line: Whose labels.
        device: Where the champion runs; None: on the best device there is.

    Raises:
        NotFound: The line has no champion yet.
        ConfigError: Models of the line's kind, or of its champion's recipe, fill nothing.
    """
    from tasks.labeling.filling import fill_objects
    from tasks.operations.predicting.loading import load_model

    own = session.line(line)
    kind = kind_of(own.kind)
    filling = kind.filling
    if filling is None:
        raise ConfigError(
            f"line {line}: models of kind {kind.name} fill nothing",
            expected="a line whose labels can be begun by a box, e.g. of kind segmentation",
            fix="label in Label Studio as usual",
        )
    loaded = load_model(session, line, device=device)
    sync_annotations(session, line)
    return fill_objects(
        session.lake, own, kind, partial(filling.fill, loaded.predictor), loaded.record.version,
        read_original=getattr(loaded.predictor, "read_original", None),
    )  # fmt: skip
