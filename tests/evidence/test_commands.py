"""`nightscope evidence` and `nightscope verify`, as a person and as a script call them."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner, Result

from tasks.cli import app
from tests.evidence.test_verify import _flipped
from tests.evidence.world import Nights
from tests.services import use_external_s3


@pytest.fixture
def command(judged: Nights, monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    """Call `nightscope` in the installation of the judged line, which has no YAML file any more."""
    settings = judged.lake.settings
    use_external_s3(settings.state_dir, settings.s3)
    monkeypatch.setenv("NIGHTSCOPE_STATE_DIR", str(settings.state_dir))
    monkeypatch.setenv("NIGHTSCOPE_MLFLOW__URL", settings.mlflow.url)

    def call(*arguments: str) -> Result:
        return CliRunner().invoke(app, list(arguments))

    return call


def test_the_chain_is_listed_with_its_head(command, judged: Nights) -> None:  # type: ignore[no-untyped-def]
    line = judged.line.line
    links = json.loads(command("evidence", line, "--json").stdout)
    assert [(link["number"], link["outcome"]) for link in links] == [(1, "promoted"), (2, "insufficient_data")]
    shown = command("evidence", line).stdout
    assert f"head: no. 2 {links[1]['bundle_oid']}" in shown
    bundle = json.loads(command("evidence", line, "--number", "2").stdout)
    assert bundle["previous"] == links[0]["bundle_oid"]
    assert command("evidence", line, "--card", "--version", "1").stdout.startswith("# Sperm")
    assert "expected" not in command("evidence", line).stdout


def test_verify_says_what_was_checked_and_exits_with_0(command, judged: Nights) -> None:  # type: ignore[no-untyped-def]
    said = command("verify", judged.line.line, "2")
    assert said.exit_code == 0, said.output
    assert "holds" in said.stdout and "evaluations computed again" in said.stdout


def test_verify_says_what_no_longer_holds_and_exits_with_1(command, judged: Nights) -> None:  # type: ignore[no-untyped-def]
    line = judged.line.line
    oid = json.loads(command("evidence", line, "--number", "1").stdout)["models"]["challenger"]["weights_oid"]
    with _flipped(judged.lake.store, judged.lake.blobs.key(oid)):
        shown, told = command("verify", line, "--quick"), command("verify", line, "--quick", "--json")
    assert (shown.exit_code, told.exit_code) == (1, 1)
    assert "no longer hold" in shown.stdout and "weights of model version 1" in shown.stdout
    (finding,) = json.loads(told.stdout)["findings"]
    assert (finding["cause"], finding["bundles"], finding["expected"]) == ("changed", [1, 2], f"sha256 {oid}")


def test_an_unknown_line_is_an_error(command) -> None:  # type: ignore[no-untyped-def]
    assert "no evidence yet" in str(command("verify", "no-such-line").exception)
