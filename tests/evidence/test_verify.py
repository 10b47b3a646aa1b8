"""One bit changed anywhere is found, named, and laid at the right bundle's door."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from typer.testing import CliRunner

from tasks import operations
from tasks.cli import app
from tasks.errors import IntegrityError, NotFound
from tasks.evidence import chain, heads
from tasks.evidence.bundle import Bundle
from tasks.evidence.checks.findings import Finding, differing
from tasks.evidence.verify import verify
from tasks.lake import Lake, ObjectStore
from tasks.lake.keys import signing_key
from tasks.registry import Registry
from tasks.registry.connection import connect
from tasks.registry.served import served_files
from tasks.session import open_session
from tasks.training.records import trained_key
from tests.evidence.world import Nights, change, flip
from tests.services import use_external_s3


def _bundles(nights: Nights) -> list[Bundle]:
    return [chain.load(nights.lake, link.bundle_oid) for link in chain.entries(nights.lake, nights.line.line)]


def _said(findings: tuple[Finding, ...], words: str) -> Finding:
    found = [finding for finding in findings if words in finding.thing]
    assert found, f"nothing about {words!r} in {[finding.thing for finding in findings]}"
    return found[0]


@contextmanager
def _flipped(store: ObjectStore, *keys: str, at: int = -1) -> Iterator[None]:
    good = {key: flip(store, key, at) for key in keys}
    try:
        yield
    finally:
        for key, data in good.items():
            store.put_bytes(key, data)


def test_what_was_not_touched_holds(judged: Nights) -> None:
    report = judged.verify()
    assert report.holds, report.findings
    assert (report.number, report.head) == (2, _entry(judged, 2).bundle_oid)
    assert report.checked["evaluations computed again"] == 2
    assert report.checked["gates run again"] == 6
    assert report.checked["frames"] == 16
    assert report.checked["files of tables"] > 4
    assert judged.verify(head=_entry(judged, 1).bundle_oid).holds


def _entry(nights: Nights, number: int):  # type: ignore[no-untyped-def]
    return chain.entries(nights.lake, nights.line.line)[number - 1]


def test_a_flipped_bit_in_any_object_of_the_lake_is_found(judged: Nights) -> None:
    """Each of them, at once, also those that this machine has a good copy of."""
    lake, bundle = judged.lake, _bundles(judged)[1]
    frame = lake.datasets.load(judged.line.line, judged.world.version).rows.column("frame_oid")[0].as_py()
    keys = {named.what: named.key for named in bundle.objects}
    for what in ("manifest", "record of", "evaluation", "predictions", "weights", "checkpoint", "report", "line as",
                 "validation's", "leak check's", "recording a.mp4", "frame times", "training record", "model card",
                 "results.csv", "named by"):  # fmt: skip
        assert any(name.startswith(what) for name in keys), f"nothing of {what}"
    keys["frame"] = lake.blobs.key(frame)
    manifest = next(keys.pop(what) for what in list(keys) if what.startswith("manifest"))
    lake.blobs.fetch_many([frame, bundle.models["challenger"].weights_oid])
    with _flipped(lake.store, *keys.values()):
        findings = judged.verify().findings
    for key in keys.values():
        finding = _said(findings, key)
        assert finding.cause == "changed" and 2 in finding.bundles, key
    with _flipped(lake.store, manifest):
        assert _said(judged.verify().findings, manifest).bundles == (1, 2)
    assert judged.verify().holds


def test_an_object_that_is_gone_is_found(tampered: Nights) -> None:
    key = tampered.lake.blobs.key(_bundles(tampered)[1].models["challenger"].weights_oid)
    tampered.lake.store.remove(key)
    finding = _said(tampered.verify().findings, "weights of model version 2")
    assert (finding.cause, finding.bundles) == ("missing", (2,))


def test_a_changed_bundle_is_found_and_the_others_are_still_checked(judged: Nights) -> None:
    first, second = _entry(judged, 1), _entry(judged, 2)
    key = judged.lake.blobs.key(first.bundle_oid)
    with _flipped(judged.lake.store, key, at=100):
        report = judged.verify()
        assert _said(report.findings, first.bundle_oid).cause == "changed"
        assert report.checked["evaluations computed again"] == 1
    with _flipped(judged.lake.store, judged.lake.blobs.key(second.bundle_oid)):
        assert _said(judged.verify().findings, second.bundle_oid).bundles == (2,)


@pytest.mark.parametrize("table", ["evidence", "verdicts"])
def test_a_flipped_bit_anywhere_in_a_tables_files_is_found(judged: Nights, table: str) -> None:
    """In every part of a Parquet file: pages, statistics, footer; and in Iceberg's own files."""
    store = judged.lake.store
    keys = [info.key for info in store.list(f"tables/nightscope/{table}/")]
    parquet = [key for key in keys if key.endswith(".parquet")]
    size = len(store.get_bytes(parquet[0]))
    for at in (size // 3, size - 200):
        with _flipped(store, parquet[0], at=at):
            assert not judged.verify("2", quick=True).holds, f"byte {at} of {size}"
    for key in (next(key for key in keys if key.endswith(".avro")), sorted(k for k in keys if "json" in k)[-1]):
        with _flipped(store, key, at=len(store.get_bytes(key)) // 2):
            assert not judged.verify("2", quick=True).holds, key


def test_rows_that_were_rewritten_are_found_by_what_they_say(tampered: Nights) -> None:
    lake = tampered.lake
    _forge(lake, "evidence", "outcome", "promoted")
    finding = _said(tampered.verify(quick=True).findings, "row of evidence 2 in table evidence: outcome")
    assert (finding.expected, finding.found) == ("insufficient_data", "promoted")
    _forge(lake, "verdicts", "verdict", "promote")
    assert _said(tampered.verify(quick=True).findings, ": verdict").found == "promote"


def _forge(lake: Lake, table: str, column: str, value: str) -> None:
    """Rewrite a table's last row, as somebody with PyIceberg would, and leave no superseded file behind."""
    import pyarrow as pa

    rows = lake.tables.scan(table)
    cells = rows.column(column).to_pylist()
    forged = rows.set_column(rows.schema.get_field_index(column), column, pa.array([*cells[:-1], value]))
    lake.tables._iceberg._load(table).overwrite(forged)


def test_a_chain_that_lost_its_end_is_found(tampered: Nights) -> None:
    """MLflow remembers the head, the seal does, and whoever wrote it down."""
    head = _entry(tampered, 2).bundle_oid
    lake = tampered.lake
    rows = lake.tables.scan("evidence")
    lake.tables._iceberg._load("evidence").overwrite(rows.slice(0, rows.num_rows - 1))
    report = tampered.verify(quick=True, head=head)
    assert _said(report.findings, "head of the chain in tag nightscope.evidence of model version 2 in MLflow")
    assert _said(report.findings, "head of the chain in what you wrote down")
    assert _said(report.findings, "row of evidence 2 in table evidence").cause == "missing"
    assert not tampered.verify(quick=True, head="f" * 64).holds


def test_a_broken_seal_is_found(judged: Nights) -> None:
    with _flipped(judged.lake.store, chain.seal_key(judged.line.line), at=30):
        assert _said(judged.verify(quick=True).findings, "seal evidence/").cause == "changed"


def test_numbers_that_do_not_follow_from_the_predictions_are_found(tampered: Nights) -> None:
    """Even where every hash was made to fit: the evaluation is another blob, and the bundle names that one."""
    lake = tampered.lake
    bundle = _bundles(tampered)[1]
    assert bundle.verdict is not None
    value = bundle.verdict.metrics["AP50"]
    text = lake.blobs.get_bytes(bundle.verdict.evaluation_oid).decode().replace(str(value), "0.987654")
    forged = lake.blobs.put_bytes(text.encode())
    verdict = bundle.verdict.model_copy(update={"evaluation_oid": forged, "verdict_id": "forged"})
    lake.tables.append("verdicts", [verdict])
    tampered.carry_out(verdict)
    findings = tampered.verify(quick=True).findings
    assert any("numbers of verdict forged: challenger.metrics.AP50" in f.thing for f in findings)
    assert _said(findings, "the challenger's metrics in verdict forged").bundles == (3,)
    assert all(finding.bundles == (3,) for finding in findings)


def test_a_decision_that_does_not_follow_from_the_gates_is_found(tampered: Nights) -> None:
    bundle = _bundles(tampered)[1]
    assert bundle.verdict is not None
    lenient = tampered.line.with_changes({"gate.AP50.sperm.at_least": 0.99})
    line_oid = tampered.lake.blobs.put_bytes(lenient.model_dump_json(by_alias=True).encode())
    verdict = bundle.verdict.model_copy(update={"line_oid": line_oid, "verdict_id": "other-line"})
    tampered.lake.tables.append("verdicts", [verdict])
    tampered.carry_out(verdict)
    findings = tampered.verify(quick=True).findings
    assert _said(findings, "gates of verdict other-line: decision").expected == "insufficient_data"
    assert _said(findings, "gates of verdict other-line: decision").found == "reject"


def test_other_code_is_told_from_tampering(judged: Nights, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.evidence.checks.judging.code_of", lambda *_: "another")
    monkeypatch.setattr("tasks.metrics.judgement.DIGITS", 3)
    monkeypatch.setattr("tasks.evaluation.measure.DIGITS", 3)
    report = judged.verify(quick=True)
    assert {finding.cause for finding in report.findings} == {"code"}
    assert any("was judged by other code than today's" in note for note in report.notes)


def test_what_mlflow_serves_is_compared_byte_for_byte(judged: Nights) -> None:
    store = judged.artifacts()
    bundle = _bundles(judged)[1]
    served = served_files(judged.registry, judged.line.line, "2")
    assert served == bundle.models["challenger"].served
    run = bundle.models["challenger"].mlflow_run
    model_id = str(judged.registry.client.get_model_version(judged.line.line, "2").source).rpartition("/")[2]
    keys = [info.key for info in store.list() if model_id in info.key or f"/{run}/" in info.key]
    assert len(keys) >= len(served)
    with _flipped(store, *keys):
        findings = judged.verify("2", quick=True).findings
    for name in (*served, "model card"):
        assert _said(findings, f"{name} of model version 2 in MLflow").cause == "changed"


def test_hands_on_the_registry_are_found(tampered: Nights) -> None:
    client, line = tampered.registry.client, tampered.line.line
    client.set_registered_model_alias(line, "champion", "2")
    client.set_model_version_tag(line, "2", "nightscope.about", "{}")
    findings = tampered.verify(quick=True).findings
    moved = _said(findings, f"alias champion of {line} in MLflow")
    assert (moved.expected, moved.cause) == ("version 1", "moved")
    assert "by hand" in moved.found
    assert _said(findings, "tag nightscope.about of model version 2").cause == "moved"


def test_a_night_that_has_begun_is_no_finding(tampered: Nights) -> None:
    tampered.train("c" * 64)
    assert tampered.verify(quick=True).holds


def test_only_a_versions_own_evidence_is_checked_where_one_is_named(judged: Nights) -> None:
    key = trained_key("b" * 64)
    with _flipped(judged.lake.store, key):
        assert judged.verify("1", quick=True).holds
        assert not judged.verify("2", quick=True).holds
    with pytest.raises(NotFound, match="no evidence of model version 9"):
        judged.verify("9")


def test_a_line_without_evidence_has_nothing_to_verify(nights: Nights) -> None:
    with pytest.raises(NotFound, match="no evidence yet"):
        nights.verify()


def test_an_mlflow_that_is_down_is_said_and_the_rest_is_checked(judged: Nights) -> None:
    url = "http://127.0.0.1:9"
    report = verify(judged.lake, Registry(connect(url), url), judged.line.line, quick=True)
    assert {finding.cause for finding in report.findings} == {"unanswered"}
    assert report.checked["evaluations computed again"] == 2


def test_changed_text_is_found_like_changed_bytes(judged: Nights) -> None:
    key = f"datasets/{judged.line.line}/{judged.world.version}/about.json"
    good = change(judged.lake.store, key, '"passed":true', '"passed":false')
    assert _said(judged.verify(quick=True).findings, key).bundles == (1, 2)
    judged.lake.store.put_bytes(key, good)


def test_differences_are_named_by_their_address() -> None:
    one = {"a": [1.0, {"b": None}], "c": True, "same": 0.1 + 0.2}
    other = {"a": [1.0, {"b": 2}], "c": 1, "same": 0.3}
    assert list(differing(one, other)) == [("a[1].b", None, 2), ("c", True, 1)]


def test_what_is_signed_is_named_with_its_key(judged: Nights) -> None:
    report = judged.verify(quick=True)
    (key,) = report.signed_by
    assert (report.signed_by[key], report.unsigned, report.checked["signatures"]) == ("1-2", 0, 2)
    assert key == signing_key(judged.lake.settings)[1]
    card = judged.lake.blobs.get_bytes(str(_bundles(judged)[1].card_oid)).decode()
    assert f"Signed by the key `{key}`" in card


def test_every_line_is_verified_and_what_no_longer_holds_is_named(
    tampered: Nights, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "tasks.operations")
    settings = tampered.lake.settings
    use_external_s3(settings.state_dir, settings.s3)
    monkeypatch.setenv("NIGHTSCOPE_STATE_DIR", str(settings.state_dir))
    monkeypatch.setenv("NIGHTSCOPE_MLFLOW__URL", settings.mlflow.url)
    told = operations.verify_all(open_session())
    assert list(told.lines) == [tampered.line.line] and "sperm-detector" in told.without
    with _flipped(tampered.lake.store, trained_key("b" * 64)):
        with pytest.raises(IntegrityError, match=f"{tampered.line.line}: 1 no longer hold: changed: training record"):
            operations.verify_all(open_session(), quick=True)
        assert trained_key("b" * 64) in caplog.text
        done = CliRunner().invoke(app, ["step", "verify-evidence", "--quick"])
        assert done.exit_code == 1 and "no longer holds" in str(done.exception)


def test_what_held_once_is_remembered_on_this_machine(tampered: Nights) -> None:
    """Also by who never recorded anything: the first verification pins what it saw."""
    settings = tampered.lake.settings
    settings.heads.unlink()
    assert tampered.verify(quick=True).holds
    assert heads.read(settings)[tampered.line.line].head.bundle_oid == _entry(tampered, 2).bundle_oid
    settings.heads.write_text("{")
    assert "cannot be read" in _said(tampered.verify(quick=True).findings, "heads of the chains").found
    tampered.order("promotion", "2", "up")
    assert tampered.verify(quick=True).holds and settings.heads.with_suffix(".damaged").exists()


def test_a_machine_without_the_keys_believes_nothing(tampered: Nights) -> None:
    tampered.lake.settings.trusted_keys.rename(tampered.lake.settings.trusted_keys.with_suffix(".gone"))
    report = tampered.verify(quick=True)
    assert {finding.cause for finding in report.findings} == {"signature"} and report.signed_by == {}
    assert "no key is trusted here yet" in _said(report.findings, "signature of evidence 1").expected
