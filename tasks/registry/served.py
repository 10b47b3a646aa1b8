"""What MLflow hands out for a model version, byte for byte, and what we leave beside it for people to read."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Mapping
from pathlib import Path

from tasks.errors import NotFound
from tasks.registry.connection import quoted, speaking
from tasks.registry.models import Registry
from tasks.registry.promotion import INTENT
from tasks.schemas import Oid

EVIDENCE = "nightscope.evidence"
"""Tag of a model version: number and oid of its newest evidence bundle, e.g. '7 3f5a...'."""

CARD = "model-card.md"
"""Artifact of the version's run: the model card."""

_DESCRIPTION_CHARACTERS = 5000
"""All that MLflow's database takes."""


def served_files(registry: Registry, line: str, version: str) -> dict[str, Oid]:
    """The sha256 of every file of a version's model, as anybody gets it who loads the model from MLflow.

    Raises:
        NotFound: There is no such version, or its files are gone.
        ServiceUnavailable: MLflow did not answer.
    """
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    with speaking(registry.url, f"files of version {version} of model {line}"):
        source = str(registry.client.get_model_version(line, version).source)
        if source.startswith("models:/m-"):
            source = str(registry.client.get_logged_model(source.removeprefix("models:/")).artifact_location)
        repository = get_artifact_repository(source, tracking_uri=registry.url, registry_uri=registry.url)
        with tempfile.TemporaryDirectory(prefix="nightscope-") as folder:
            repository.download_artifacts("", dst_path=folder)
            found = _hashes(Path(folder))
    if not found:
        raise NotFound(f"MLflow: version {version} of model {line} has no files at {source}")
    return found


def served_card(registry: Registry, run_id: str) -> Oid | None:
    """The sha256 of the model card that a run shows; None if it shows none.

    Raises:
        ServiceUnavailable: MLflow did not answer.
    """
    with speaking(registry.url, f"model card of run {run_id}"), tempfile.TemporaryDirectory() as folder:
        if CARD not in {entry.path for entry in registry.client.list_artifacts(run_id)}:
            return None
        path = Path(registry.client.download_artifacts(run_id, CARD, folder))
        return hashlib.sha256(path.read_bytes()).hexdigest()


def version_tags(registry: Registry, line: str, version: str) -> dict[str, str]:
    """A version's tags.

    Raises:
        NotFound: There is no such version.
    """
    with speaking(registry.url, f"version {version} of model {line}"):
        return {str(key): str(value) for key, value in registry.client.get_model_version(line, version).tags.items()}


def tagged(registry: Registry, line: str, tag: str) -> dict[str, str]:
    """Version → the tag's value, of every version of the line's model that has the tag."""
    with speaking(registry.url, f"versions of model {line}"):
        found = registry.client.search_model_versions(f"name = {quoted(line)}", max_results=1000)
        return {str(version.version): str(version.tags[tag]) for version in found if tag in version.tags}


def ordered_by_tag(registry: Registry, line: str) -> str | None:
    """What a tag in MLflow orders to be done to the line's aliases, which is never carried out; None: there is none."""
    try:
        with speaking(registry.url, f"model {line}"):
            found = registry.client.get_registered_model(line).tags.get(INTENT)
            return None if found is None else str(found)
    except NotFound:
        return None


def describe(
    registry: Registry, line: str, version: str, *, run_id: str, card: Path, summary: str, tags: Mapping[str, str]
) -> None:
    """Show a version's model card: in full beside its run, in short as its description. The same again is fine.

    Args:
        registry: MLflow.
        line, version: Whose.
        run_id: The run that the version came from.
        card: Local file, Markdown.
        summary: Markdown, too.
        tags: Set on the version, after everything else.
    """
    registry.runs.log_files(run_id, {CARD: card})
    with speaking(registry.url, f"description of version {version} of model {line}"):
        registry.client.update_model_version(line, version, description=summary[:_DESCRIPTION_CHARACTERS])
        for key, value in tags.items():
            registry.client.set_model_version_tag(line, version, key, value)


def _hashes(folder: Path) -> dict[str, Oid]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
