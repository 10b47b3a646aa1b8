"""What a person finds beside a training in MLflow: the report, and the numbers behind it in files that tools read."""

from __future__ import annotations

import re
from pathlib import Path

from tasks.evaluation.evaluation import Evaluation
from tasks.evaluation.plots import standalone
from tasks.evaluation.tables import as_csv, numbers, tables
from tasks.metrics.judgement import PARTS
from tasks.schemas import canonical_json

FOLDER = "test"
"""Of the artifacts, and what the metrics' names begin with."""


def write_artifacts(evaluation: Evaluation, report: bytes, folder: Path) -> dict[str, Path]:
    """Write everything that is shown of an evaluation.

    Args:
        evaluation: What was measured.
        report: The verdict's HTML.
        folder: Where to; must exist.

    Returns:
        Artifact name (test/report.html, test/evaluation.json, test/tables/*.csv, test/curves/*.svg) -> file.
    """
    before = {plot.title: plot for plot in evaluation.champion.plots} if evaluation.champion else {}
    contents: dict[str, bytes] = {
        "report.html": report,
        "evaluation.json": canonical_json(evaluation.model_dump(mode="json")).encode(),  # the very bytes of the blob
        **{f"tables/{name}.csv": as_csv(rows).encode() for name, rows in tables(evaluation).items()},
        **{
            f"curves/{_file_name(plot.title)}.svg": standalone(plot, before.get(plot.title)).encode()
            for plot in evaluation.challenger.plots
        },
    }
    written = {}
    for name, data in contents.items():
        place = folder / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data)
        written[f"{FOLDER}/{name}"] = place
    return written


def logged_metrics(evaluation: Evaluation) -> dict[str, float]:
    """The challenger's numbers under MLflow's names: 'test/AP50', 'test/per_class/sperm/AP50'. Recordings are left out.

    MLflow takes letters, digits and `_-. :/` in a name; anything else becomes an underscore.
    """
    own = {key: value for key, value in evaluation.metrics.items() if key not in PARTS}
    return {re.sub(r"[^\w\-. :/]", "_", f"{FOLDER}/{name}"): value for name, value in numbers(own)}


def _file_name(title: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")
