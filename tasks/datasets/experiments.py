"""Dataset versions that are made for an experiment: folds, and splits that leak on purpose.

They lie among the line's versions, in the same form, but are marked in the manifest itself, so that the mark counts for
the version's hash: an experiment's version is never a night's, even where both hold the same rows, and no listing of a
line's versions shows it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tasks.config import Line
from tasks.datasets.freeze import counts
from tasks.errors import ConfigError, DataError, NotFound
from tasks.kind import Kind
from tasks.lake import Lake, Manifest
from tasks.lake.datasets import EXPERIMENT
from tasks.schemas import Split, canonical_json, now

if TYPE_CHECKING:
    import pyarrow as pa


def starting_version(lake: Lake, line: Line, version: str | None = None) -> Manifest:
    """The dataset version that an experiment takes its frames from: the newest that a night froze, or a named one.

    A version is named by its hash, or by the first digits of it.

    Raises:
        NotFound: The line has no (such) version.
        ConfigError: Several versions begin so.
        DataError: It is an experiment's itself.
    """
    known = lake.datasets.versions(line.line)
    if version is None and not known:
        raise NotFound(
            f"line {line.line}: no dataset version yet", fix=f"nightscope run {line.line}: its night freezes one"
        )
    manifest = lake.datasets.load(line.line, lake.datasets.resolve(line.line, version) if version else known[-1])
    refuse_experiment(manifest)
    return manifest


def require_classes(line: Line, manifest: Manifest) -> None:
    """Refuse a version whose models would have other classes than the line has today.

    Raises:
        ConfigError: They differ, in number, name or order.
    """
    frozen = json.loads((manifest.rows.schema.metadata or {})[b"classes"])
    if frozen != list(line.classes):
        raise ConfigError(
            f"line {line.line}: its classes are others than in dataset version {manifest.version[:12]}",
            expected=", ".join(frozen),
            found=", ".join(line.classes),
            fix=f"nightscope run {line.line}: its night freezes a version with them",
        )


def experiment_of(manifest: Manifest) -> dict[str, Any] | None:
    """What a version was made for, e.g. `{"what": "cross-validation", "of": <version>, ...}`; None: for a night."""
    mark = (manifest.rows.schema.metadata or {}).get(EXPERIMENT)
    return dict(json.loads(mark)) if mark else None


def refuse_experiment(manifest: Manifest) -> None:
    """Keep an experiment's version away from nights and the registry.

    Raises:
        DataError: It is one.
    """
    found = experiment_of(manifest)
    if found:
        raise DataError(
            f"line {manifest.line}: dataset version {manifest.version[:12]} was made for an experiment",
            expected="a version that a night froze",
            found=f"{found['what']} of version {str(found['of'])[:12]}",
            fix=f"nightscope step freeze-dataset {manifest.line}, or `nightscope run {manifest.line}`",
        )


def save_experiment(
    lake: Lake,
    line: Line,
    kind: Kind,
    base: Manifest,
    rows: pa.Table,
    places: Sequence[Split],
    mark: Mapping[str, Any],
    **about: Any,
) -> str:
    """Save rows of a version under other splits, as a marked version of their own.

    Args:
        lake: Where it goes.
        line: Whose dataset it is.
        kind: Of the line.
        base: The version that the rows are of.
        rows: Rows of its manifest.
        places: Their splits, in order; there is no validation split among them (see `tasks.datasets.folds`).
        mark: What it is for: `what` and whatever tells it from others.
        about: More to keep in its record.
    """
    import pyarrow as pa

    content = {"of": base.version, **mark}
    metadata = {**(base.rows.schema.metadata or {}), EXPERIMENT: canonical_json(content).encode()}
    column = rows.schema.get_field_index("split")
    placed = rows.set_column(column, "split", pa.array(list(places), pa.string())).replace_schema_metadata(metadata)
    record = {
        "kind": line.kind,
        "classes": list(line.classes),
        "has_val": False,
        "counts": counts(placed, kind),
        "experiment": content,
        "validation": base.about.get("validation"),
        "line_fingerprint": line.fingerprint(),
        "created_at": now().isoformat(),
    }
    return lake.datasets.save(line.line, placed, record | about)
