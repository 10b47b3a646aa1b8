"""Is there anything to do tonight? Answered from hashes, in well under a second."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tasks.config import Line
from tasks.errors import NothingToDo
from tasks.kinds import kind_of
from tasks.lake import Lake
from tasks.lake.signed import keep, kept
from tasks.schemas import Frozen, digest, now
from tasks.session import Session

NIGHT = "night"


class News(Frozen):
    """Tonight's inputs are new."""

    news: str
    """Their fingerprint; `promote_model` files it when the night is done."""


def check_request(session: Session, name: str, changes: Mapping[str, Any]) -> None:
    """Refuse a run whose values cannot work, before anything is done.

    Raises:
        ConfigError: Unknown line, recipe, recipe value, gate, metric or class; all faults of a kind at once.
    """
    from tasks.gates.checks import check_gates

    line = session.line(name, changes)
    kind = kind_of(line.kind)
    kind.recipes.load_recipe(line.recipe)
    check_gates(line, kind)


def check_news(session: Session, name: str, changes: Mapping[str, Any] | None = None, *, force: bool = False) -> News:
    """Compare what the line would learn from with what its finished nights have learned from.

    Raises:
        NothingToDo: A night with exactly these inputs has finished.
    """
    fingerprint = inputs_fingerprint(session.lake, session.line(name, changes))
    finished = finished_night(session.lake, name, fingerprint)
    if finished and not force:
        raise NothingToDo(
            f"line {name}: nothing new since the night of {finished['at'][:16]} UTC "
            f"(dataset {finished['dataset_version'][:12]}, model version {finished['model_version']}, "
            f"{finished.get('outcome') or 'verdict: ' + finished['verdict']})",
            fix="add recordings or labels, change the recipe or the seed, or run with force=true",
        )
    return News(news=fingerprint)


def inputs_fingerprint(lake: Lake, line: Line) -> str:
    """Compute the digest of all that decides a night's outcome: the line, its label revisions, the checks, the code."""
    from tasks.provenance import code_version

    columns = ["annotation_id", "revision_id"]
    revisions = lake.tables.scan("annotations", where={"line": line.line}, columns=columns).to_pylist()
    folders = dict.fromkeys(
        (lake.settings.expectations_dir, kind_of(line.kind).expectations(lake.settings.expectations_dir))
    )
    suites = {path.name: path.read_text() for folder in folders for path in sorted(folder.glob("*.json"))}
    return digest(line.fingerprint(), sorted(row["revision_id"] for row in revisions), suites, code_version(line.kind))


def run_fingerprint(run_key: str, line: Line) -> str:
    """Compute the key of a night by what it judged: a training, and the gates and measuring it was put through.

    The same training under other gates is another night: a held model may pass a gate that was loosened.
    """
    gates = [gate.model_dump(mode="json", by_alias=True) for gate in line.gates]
    return digest(run_key, gates, line.evaluation.model_dump(mode="json"))


def finished_night(lake: Lake, line: str, key: str) -> dict[str, Any] | None:
    """Find the record of the finished night with these inputs; None where there was none.

    A night from before an erasure counts no more where a model of the line learned from what was erased.
    """
    found: dict[str, Any] | None = kept(lake, NIGHT, line, f"nights/{line}/{key}.json")
    since = _retrain_since(lake, line) if found else None
    return None if found and since and found["at"] < since else found


def finish_night(lake: Lake, line: str, key: str, record: Mapping[str, Any]) -> None:
    """File the night as finished: the last write of a night, so that its existence means complete."""
    keep(lake, NIGHT, line, f"nights/{line}/{key}.json", {**record, "at": now().isoformat()})


def _retrain_since(lake: Lake, line: str) -> str | None:
    """Find when a line was last marked for retraining: nights of before do not count as done. ISO 8601; None: never."""
    return max(
        (tombstone.at.isoformat() for tombstone in lake.tombstones.all() if line in tombstone.lines), default=None
    )
