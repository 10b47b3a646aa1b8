"""The subprocess that exports a model, whatever its kind."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Protocol

from tasks.errors import StepFailed
from tasks.training.supervise import public_environment, tail


class ExportJob(Protocol):
    """What a step asks of it."""

    @property
    def folder(self) -> Path:
        """For job, log, result, and the files."""

    def model_dump_json(self) -> str:
        """The job, as the subprocess reads it."""


def run_export(job: ExportJob, module: str, what: str) -> dict[str, Any]:
    """Export in a subprocess.

    Args:
        job: It leaves the files in `job.folder / "files"`, and `result.json` beside them.
        module: `python -m <module> <job.json>`.
        what: The export, for messages.

    Returns:
        What `result.json` says.

    Raises:
        StepFailed: It failed; with the end of its log.
    """
    job_file, log = job.folder / "job.json", job.folder / "export.log"
    job_file.write_text(job.model_dump_json())
    with log.open("ab") as output:
        done = subprocess.run(
            [sys.executable, "-P", "-m", module, str(job_file)],
            stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd=job.folder, check=False,
            env=public_environment() | {"PYTHONHASHSEED": "0"},  # else onnxslim writes the same graph in another order
        )  # fmt: skip
    result = job.folder / "result.json"
    if done.returncode != 0 or not result.exists():
        raise StepFailed(f"export to {what} failed (exit code {done.returncode})", found=tail(log))
    said: dict[str, Any] = json.loads(result.read_text())
    return said
