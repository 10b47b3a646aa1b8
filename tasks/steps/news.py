"""Is there anything to do tonight? Answered from hashes, in well under a second."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tasks.config import Line, Settings, load_line, load_settings
from tasks.errors import NothingToDo
from tasks.lake import Lake, open_lake
from tasks.lake.signed import keep, kept
from tasks.schemas import digest, now

NIGHT = "night"


def resolve_line(settings: Settings, name: str, changes: Mapping[str, Any]) -> Line:
    """The line as this run wants it.

    Raises:
        ConfigError: No such line, or a change that it refuses.
    """
    line = load_line(name, settings.lines_dir)
    return line.with_changes(changes) if changes else line


def check_request(name: str, changes: Mapping[str, Any]) -> None:
    """Refuse a run whose values cannot work, before anything is done.

    Raises:
        ConfigError: Unknown line, recipe, recipe value, gate, metric or class; all faults of a kind at once.
    """
    from tasks.gates.checks import check_gates
    from tasks.training.recipes import load_recipe

    line = resolve_line(load_settings(), name, changes)
    load_recipe(line.recipe)
    check_gates(line)


def check_news(name: str, changes: Mapping[str, Any] | None = None, *, force: bool = False) -> str:
    """Compare what the line would learn from with what its finished nights have learned from.

    Returns:
        The fingerprint of tonight's inputs; `finish_night` files it when the night is done.

    Raises:
        NothingToDo: A night with exactly these inputs has finished.
    """
    settings = load_settings()
    lake = open_lake(settings)
    fingerprint = inputs_fingerprint(lake, resolve_line(settings, name, changes or {}))
    finished = finished_night(lake, name, fingerprint)
    if finished and not force:
        raise NothingToDo(
            f"line {name}: nothing new since the night of {finished['at'][:16]} UTC "
            f"(dataset {finished['dataset_version'][:12]}, model version {finished['model_version']}, "
            f"{finished.get('outcome') or 'verdict: ' + finished['verdict']})",
            fix="add recordings or labels, change the recipe or the seed, or run with force=true",
        )
    return fingerprint


def inputs_fingerprint(lake: Lake, line: Line) -> str:
    """Digest of all that decides a night's outcome: the line, its label revisions, the checks, the code."""
    from tasks.provenance import code_version

    columns = ["annotation_id", "revision_id"]
    revisions = lake.tables.scan("annotations", where={"line": line.line}, columns=columns).to_pylist()
    suites = {path.name: path.read_text() for path in sorted(lake.settings.expectations_dir.glob("*.json"))}
    return digest(line.fingerprint(), sorted(row["revision_id"] for row in revisions), suites, code_version())


def judged_key(run_key: str, line: Line) -> str:
    """Where a night is filed by what it judged: a training, and the gates and measuring it was put through.

    The same training under other gates is another night: a held model may pass a gate that was loosened.
    """
    gates = [gate.model_dump(mode="json", by_alias=True) for gate in line.gates]
    return digest(run_key, gates, line.evaluation.model_dump(mode="json"))


def finished_night(lake: Lake, line: str, key: str) -> dict[str, Any] | None:
    """The record of the finished night with these inputs, if there was one.

    A night from before an erasure counts no more where a model of the line learned from what was erased.
    """
    from tasks.steps.erase import retrain_since

    found: dict[str, Any] | None = kept(lake, NIGHT, line, f"nights/{line}/{key}.json")
    since = retrain_since(lake, line) if found else None
    return None if found and since and found["at"] < since else found


def finish_night(lake: Lake, line: str, key: str, record: Mapping[str, Any]) -> None:
    """File the night as finished: the last write of a night, so that its existence means complete."""
    keep(lake, NIGHT, line, f"nights/{line}/{key}.json", {**record, "at": now().isoformat()})
