"""How the training of a model ended: still getting better, standing still, or just right."""

from __future__ import annotations

from tasks.experiments.diagnosis.findings import TrainingHealth
from tasks.kind import Kind
from tasks.lake import Lake


def health_of(lake: Lake, kind: Kind, run_key: str) -> TrainingHealth | None:
    """Look at the epochs of the training on record; None where its record is gone."""
    from tasks.training.health import plateau_of, rising_at_the_end, series_of
    from tasks.training.records import Trained, read, trained_key

    trained = read(lake, trained_key(run_key), Trained, unsigned=True)  # numbers to show: nothing of it is loaded
    if trained is None:
        return None
    score = kind.epoch_score
    series = series_of(trained.history, score)
    plateau = plateau_of(trained.history, score, trained.epochs)
    best = max(range(len(series.values)), key=lambda i: series.values[i]) if series else None
    return TrainingHealth(
        epochs=trained.epochs,
        steps=trained.steps,
        seconds=trained.seconds,
        metric=series.metric if series else None,
        plateau=str(plateau) if plateau else None,
        plateau_since=plateau.since if plateau else None,
        rising=rising_at_the_end(trained.history, score),
        still_best_epoch=series.epochs[best] if series and best is not None else None,
    )
