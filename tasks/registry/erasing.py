"""What MLflow shows of an erased donor: pictures and tables beside runs go, texts lose the names."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable
from pathlib import Path

from tasks.registry.connection import speaking
from tasks.registry.models import Registry

SHOWS_FRAMES = re.compile(
    r"(^|/)(val|train_sample|training|debug)/.*\.(jpe?g|png)$|batch|labels\.(jpe?g|png)$", re.IGNORECASE
)
"""Pictures of a training, by the name MLflow shows: mosaics of frames, and curves, which are not told apart."""
_OF_A_VERDICT = "test/"
"""The report, evaluation and tables of a verdict. The lake keeps redacted ones."""
_TEXTS = (".csv", ".json", ".log", ".md", ".txt", ".yaml", ".yml")


def clean_run(
    registry: Registry, run_id: str, redact: Callable[[str], str], mentioned: Callable[[str], bool]
) -> list[str]:
    """Remove a run's artifacts that show frames of the test split or the training, and redact its texts.

    Args:
        registry: MLflow.
        run_id: The run.
        redact: A text without the names.
        mentioned: Whether a text has any.

    Returns:
        What was removed or changed.

    Raises:
        NotFound: There is no such run.
        ServiceUnavailable: MLflow did not answer.
    """
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    done = []
    with speaking(registry.url, f"artifacts of run {run_id}"), tempfile.TemporaryDirectory() as folder:
        run = registry.client.get_run(run_id)
        repository = get_artifact_repository(str(run.info.artifact_uri), tracking_uri=registry.url)
        for path in _files(registry, run_id, ""):
            if _shows(path):
                repository.delete_artifacts(path)
                done.append(path)
            elif path.endswith(_TEXTS):
                local = Path(registry.client.download_artifacts(run_id, path, folder))
                text = local.read_text(errors="replace")
                if mentioned(text):
                    local.write_text(redact(text))
                    registry.client.log_artifact(run_id, str(local), path.rpartition("/")[0] or None)
                    done.append(path)
    return done


def _shows(path: str) -> bool:
    return not path.endswith(".svg") and (path.startswith(_OF_A_VERDICT) or bool(SHOWS_FRAMES.search(path)))


def _files(registry: Registry, run_id: str, below: str) -> list[str]:
    found: list[str] = []
    for entry in registry.client.list_artifacts(run_id, below or None):
        found += _files(registry, run_id, entry.path) if entry.is_dir else [entry.path]
    return found
