"""What `nightscope diagnose` prints, writes, and exits with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tasks import experiments
from tasks.cli import app
from tasks.experiments.diagnosis import DiagnosisReport
from tasks.experiments.diagnosis.findings import Advice
from tests.experiments.test_advice import HEALTHY, MISSED, a_curve, a_slice, a_threshold, found

FOUND = found(
    errors=(MISSED,), slices=(a_slice("recording", "[a].mp4", 0.5),), threshold=a_threshold(0.07, 0.02),
    training=HEALTHY.model_copy(update={"plateau": "plateau since epoch 3"}), not_run=("learning curve: it trains",),
    advice=(Advice(rule="search", worth=None, sentence="Do [this] first."),), report_html="<p>é</p>",
)  # fmt: skip


def ran(monkeypatch: pytest.MonkeyPatch, report: DiagnosisReport, *arguments: str) -> tuple[int, str, str, Any]:
    """Exit code, stdout, stderr, and what the experiment was asked for."""
    asked: dict[str, Any] = {}

    def fake(session: Any, line: str, version: str | None, **options: Any) -> DiagnosisReport:
        print("working")
        asked.update(options, line=line, version=version)
        return report

    monkeypatch.setattr(experiments, "diagnose", fake)
    done = CliRunner().invoke(app, ["diagnose", "cells", *arguments])
    return done.exit_code, done.stdout, done.stderr, asked


def test_a_person_reads_the_parts_and_the_sentences_last(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    out = tmp_path / "page.html"
    code, text, _, asked = ran(monkeypatch, FOUND, "--out", str(out), "--version", "2")
    assert code == 0 and asked["learning_curve"] is False and asked["version"] == "2" and asked["seeds"] == 3
    for part in (
        "Missed",
        "0.060",
        "recording [a].mp4",
        "threshold 0.25",
        "plateau since epoch 3",
        "not run: learning",
    ):
        assert part in text, part
    assert text.index("1. Do [this] first.") > text.index("not run") and str(out) in text
    assert out.read_text(encoding="utf-8") == "<p>é</p>"


def test_json_is_one_document_with_the_place_of_the_page(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    code, text, _, asked = ran(monkeypatch, FOUND, "--json", "--learning-curve", "--seeds", "2")
    report = json.loads(text)
    assert code == 0 and asked["learning_curve"] and asked["seeds"] == 2 and "report_html" not in report
    assert report["report"] == str(tmp_path / "cells-diagnosis.html") and Path(report["report"]).is_file()


def test_a_training_that_failed_is_said_and_is_no_success(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    curve = a_curve(0.04, 0.01, 0.07)
    failed = curve.points[0].model_copy(update={"state": "failed", "value": None, "why": "out of [memory]"})
    broken = curve.model_copy(update={"points": (*curve.points, failed), "complete": False})
    report = FOUND.model_copy(update={"learning_curve": broken})
    code, text, errors, _ = ran(monkeypatch, report, "--out", str(tmp_path / "page.html"))
    assert code == 1 and "40 groups, seed 0: AP50 0.900" in text and "out of [memory]" in errors


def test_a_place_that_cannot_be_written_is_refused_before_the_work(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    code, _, _, asked = ran(monkeypatch, FOUND, "--out", str(tmp_path / "no" / "page.html"))
    assert code == 1 and not asked
