"""The command line on the whole stack, Airflow included, as a script uses it; and kill -9 in the middle of a night."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest

from tasks.config import Settings
from tasks.lake import open_lake
from tasks.registry.models import open_registry
from tasks.stack.services import UNITS
from tasks.stack.status import status
from tests import waiting
from tests.services import running

LINE = "sperm-detector"
until = partial(waiting.until, patience_s=240)
FRAMES, LABEL_EVERY, RECORDINGS = 48, 8, 3
SMALL = ("imgsz=96", "min_steps=60", "batch=4", "gate.AP50.sperm.at_least=0", "gate.AP50.each-class.at_least=0",
         "gate.latency_ms_p95.at_most=60000", "override=true", "note=test: small")  # fmt: skip
"""Learns next to nothing in half a minute; the gates let it pass, and a person says that they may."""


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """All of the embedded stack."""
    with running(tmp_path_factory.mktemp("night"), UNITS) as settings:
        yield settings


def _start(settings: Settings, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "tasks", *arguments],
        env=os.environ | {"NIGHTSCOPE_STATE_DIR": str(settings.state_dir)},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=settings.state_dir,
    )  # fmt: skip


def _end(process: subprocess.Popen[str], code: int = 0) -> Any:
    output, errors = process.communicate(timeout=500)
    assert process.returncode == code, f"exit code {process.returncode}\n{output}\n{errors}"
    return json.loads(output)  # nothing but the document may stand on stdout


def _json(settings: Settings, *arguments: str, code: int = 0) -> Any:
    return _end(_start(settings, *arguments, "--json"), code)


def _run(settings: Settings) -> subprocess.Popen[str]:
    values = (part for value in SMALL for part in ("--set", value))
    return _start(settings, "run", LINE, *values, "--json")


def _worker(settings: Settings) -> int | None:
    """The training subprocess of this stack."""
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or []
        if "tasks.training.worker" in words and words[-1].startswith(str(settings.work_dir)):
            return int(process.pid)
    return None


def _kill(settings: Settings, service: str) -> None:
    pid = next(each.pid for each in status(settings.state_dir) if each.name == service)
    assert pid is not None
    os.kill(pid, signal.SIGKILL)


def test_a_night_that_is_killed_everywhere_ends_once_and_well(stack: Settings, tmp_path: Path) -> None:
    samples = [sys.executable, "-m", "tasks", "synthesize", str(tmp_path), "--count", str(RECORDINGS), "--frames",
               str(FRAMES), "--label-every", str(LABEL_EVERY)]  # fmt: skip
    subprocess.run(samples, check=True, capture_output=True)
    (tmp_path / "recordings" / "text.mp4").write_text("no video")
    (tmp_path / "recordings" / "notes.txt").write_text("no recording")
    added = _json(stack, "add", str(tmp_path / "recordings"), "--study", "e2e", "--um-per-px", "0.35", code=1)
    assert len(added["accepted"]) == RECORDINGS + 1 and set(added["accepted"][0]) == {"path", "key"}
    assert [Path(item["path"]).name for item in added["refused"]] == ["notes.txt"] and added["refused"][0]["reason"]

    (tmp_path / "labels" / "nobody_0001.xml").write_text("<annotation/>")
    imported = _json(
        stack,
        "labels",
        "import",
        str(tmp_path / "labels"),
        "--format",
        "voc",
        "--line",
        LINE,
        "--frame-base",
        "0",
        code=1,
    )
    labelled = RECORDINGS * FRAMES // LABEL_EVERY
    assert (imported["matched"], imported["annotations"]) == (labelled, labelled)
    assert [item["file"] for item in imported["unmatched"]] == ["nobody_0001.xml"] and imported["unmatched"][0][
        "reason"
    ]

    night = _run(stack)
    store = open_lake(stack).store
    until(lambda: list(store.list("checkpoints/")))
    os.kill(until(lambda: _worker(stack)), signal.SIGKILL)
    _kill(stack, "s3")
    until(lambda: _worker(stack))
    _kill(stack, "airflow-scheduler")
    report = _end(night)

    assert {"line", "state", "reason", "dataset_version", "mlflow_run", "model_version", "steps", "quarantined"} <= set(
        report
    )
    assert report["state"] == "promoted", report
    assert report["reason"].startswith("This run's gates differ from the line's file: AP50.sperm.at_least 0 instead")
    assert all(set(step) == {"name", "state", "seconds"} for step in report["steps"])
    assert ["text.mp4" in item["what"] for item in report["quarantined"]] == [True] and report["quarantined"][0][
        "reason"
    ]
    _nothing_twice(stack, labelled)

    again = _end(_run(stack))
    assert again["state"] == "skipped" and "nothing new" in again["reason"]
    _nothing_twice(stack, labelled)


def _nothing_twice(settings: Settings, labelled: int) -> None:
    import httpx

    lake = open_lake(settings)
    recordings = lake.tables.scan("recordings").column("recording_id").to_pylist()
    assert len(recordings) == len(set(recordings)) == RECORDINGS
    frames = [(row["recording_id"], row["frame_index"]) for row in lake.tables.scan("frames").to_pylist()]
    assert len(frames) == len(set(frames)) >= labelled
    token = {"Authorization": f"Token {settings.label_studio.token.get_secret_value()}"}
    projects = httpx.get(f"{settings.label_studio.url}/api/projects/", headers=token, trust_env=False).json()["results"]
    ours = [project for project in projects if project["task_number"]]  # another line's project has none yet
    assert [project["task_number"] for project in ours] == [len(frames)]
    assert len(lake.datasets.versions(LINE)) == 1
    assert [record.version for record in open_registry(settings).versions(LINE)] == ["1"]


def test_what_is_in_charge_can_be_read_by_scripts(stack: Settings) -> None:
    champion = _json(stack, "champion", LINE)
    assert {"line", "model_version", "dataset_version", "metrics", "promoted_at", "verdict"} <= set(champion)
    assert {"AP50", "AP50_95", "per_class"} <= set(champion["metrics"])
    assert all("AP50" in numbers for numbers in champion["metrics"]["per_class"].values())
    verdicts = _json(stack, "verdicts", LINE)
    wanted = {"model_version", "verdict", "reasons", "metrics", "intervals", "dataset_version", "at"}
    assert len(verdicts) == 1 and wanted <= set(verdicts[0]) and verdicts[0]["verdict"] == "promote"
    state = _json(stack, "status")
    assert all({"name", "state", "url", "pid", "since"} <= set(service) for service in state["services"])
    assert {service["state"] for service in state["services"]} == {"running"}
    assert state["lake"]["recordings"] == RECORDINGS and state["lake"]["quarantined"] == 1
    assert state["lake"]["annotations"] == RECORDINGS * FRAMES // LABEL_EVERY and state["lake"]["frames"] > 0


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("run", "sperm-detectr"), "sperm-detector"),
        (("run", LINE, "--set", "imgsiz=640"), "imgsz"),
        (("run", LINE, "--set", "imgsz=-1"), "imgsz"),
        (("run", LINE, "--set", "gate.AP51.at_least=1"), "AP51"),
        (("champion", "nobody"), "no such line"),
    ],
)
def test_wrong_values_are_refused_with_a_sentence(stack: Settings, arguments: tuple[str, ...], complaint: str) -> None:
    process = _start(stack, *arguments)
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 1 and output == ""
    assert complaint in errors and "Traceback" not in errors
