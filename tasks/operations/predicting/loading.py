"""A registered model, its weights checked and loaded: the champion, or a version by its number."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from tasks.config import Line
from tasks.kind import Image, Kind, ModelRef, Predictor, Row
from tasks.kinds import kind_of
from tasks.operations.predicting.rows import columns_of, rows_of
from tasks.promotion.in_charge import find_model
from tasks.registry.models import ModelRecord
from tasks.session import Session
from tasks.steps.predictors import reference

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LoadedModel:
    """A model that is ready to predict. One thread at a time.

    Attributes:
        line: Whose.
        kind: Of the line.
        record: As the lake vouches for it.
        model: As its kind knows it.
        predictor: It, loaded.
    """

    line: Line
    kind: Kind
    record: ModelRecord
    model: ModelRef
    predictor: Predictor

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of a row's values."""
        return columns_of(self.kind, self.line, self.model)

    def rows(self, image: Image, min_score: float | None = None) -> list[Row]:
        """What it says of one image: BGR uint8 [height, width, 3], or what the predictor's `read_original` gave."""
        (output,) = self.predictor.predict([image])
        return rows_of(self.kind, self.line, self.model, output, min_score)


def load_model(session: Session, name: str, version: str | None = None, device: str | None = "cpu") -> LoadedModel:
    """Load a version of a line's model; as `find_model`.

    Args:
        session: Whose lake and registry.
        name: The line.
        version: Default the champion.
        device: 'cpu', 'cuda:0'; None: the best one there is.
    """
    return load_record(session, session.line(name), find_model(session, name, version), device)


def load_record(session: Session, line: Line, record: ModelRecord, device: str | None) -> LoadedModel:
    """Load a version that was found by `find_model`: the bytes of its weights are checked against their hash."""
    kind, model = kind_of(line.kind), reference(record)
    predictor = kind.predictors.load(session.lake, model, device)
    log.info("line %s: model version %s loaded on %s", line.line, record.version, predictor.device)
    return LoadedModel(line, kind, record, model, predictor)
