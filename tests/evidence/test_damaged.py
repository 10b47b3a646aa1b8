"""Damage stops nobody: what happens is recorded, with what could not be read, and the damage is found."""

from __future__ import annotations

import pytest

from tasks.evidence import chain
from tasks.evidence.bundle import Bundle
from tasks.lake import open_lake
from tasks.lake.signed import keep
from tasks.leakage import filing
from tasks.training.records import trained_key
from tests.evidence.test_verify import _flipped, _said
from tests.evidence.world import Nights, change


def _keys(nights: Nights) -> dict[str, str]:
    """What is to be damaged: as `missing` names it → where it is."""
    short = nights.world.version[:12]
    about = nights.lake.datasets.load(nights.line.line, nights.world.version).about
    return {
        f"dataset {short} (": f"datasets/{nights.line.line}/{nights.world.version}/about.json",
        "training record of model version 2 (": trained_key("b" * 64),
        f"what the validation's result of dataset {short} names (": nights.lake.blobs.key(
            about["validation"]["result_oid"]
        ),
    }


def test_a_damaged_past_stops_no_promotion_and_no_rollback(tampered: Nights) -> None:
    """No JSON any more, no text any more, not what the hash says."""
    for number, ((missing, key), at) in enumerate(zip(_keys(tampered).items(), (-1, 1, -1), strict=True)):
        good = tampered.lake.store.get_bytes(key)
        bad = bytearray(good)
        bad[at] ^= 0x80 if at > 0 else 1
        tampered.lake.store.put_bytes(key, bytes(bad))
        entries = [
            tampered.order("promotion", "2", f"up-{number}"),
            tampered.order("rollback", "1", f"down-{number}"),
        ]
        bundles = [_bundle(tampered, entry.bundle_oid) for entry in entries]
        asked = [bundle for bundle in bundles if bundle.model_version == "2" or "dataset" in missing]
        for bundle in asked:
            assert any(gap.startswith(missing) for gap in bundle.missing), bundle.missing
            assert not any(one.key == key and one.sha256 not in key for one in bundle.objects), "vouches for damage"
        finding = _said(tampered.verify(quick=True).findings, key)
        assert (finding.cause, 2 in finding.bundles) == ("changed", True)
        tampered.lake.store.put_bytes(key, good)
        assert tampered.verify(quick=True).holds, "repaired from a backup"


def _bundle(nights: Nights, oid: str) -> Bundle:
    return chain.load(nights.lake, oid)


def test_a_record_that_changed_between_two_bundles_is_found_by_the_second(tampered: Nights) -> None:
    """It was changed when the second was recorded, and is as the first one says, or the other way round."""
    key = trained_key("b" * 64)
    good = change(tampered.lake.store, key, '"seed": 3', '"seed": 4')
    tampered.order("promotion", "2", "up")
    assert _said(tampered.verify(quick=True).findings, key).bundles == (2,)
    tampered.lake.store.put_bytes(key, good)
    assert _said(tampered.verify(quick=True).findings, key).bundles == (3,)


def _parquet(nights: Nights, table: str = "evidence") -> str:
    keys = sorted(chain.files_of(nights.lake, table))
    return next(key for key in keys if key.endswith(".parquet"))


def _other(nights: Nights, mlflow, tmp_path) -> Nights:  # type: ignore[no-untyped-def]
    """Another line in the same lake."""
    folder = tmp_path / "other"
    folder.mkdir()
    return Nights(open_lake(nights.lake.settings), mlflow, folder)


def test_another_lines_night_does_not_seal_damage(tampered: Nights, mlflow, tmp_path) -> None:  # type: ignore[no-untyped-def]
    other = _other(tampered, mlflow, tmp_path)
    key = _parquet(tampered)
    at = _byte_no_row_shows(tampered, key)
    with _flipped(tampered.lake.store, key, at=at):
        other.night("c" * 64)
        for nights in (tampered, other):
            assert _said(nights.verify(quick=True).findings, key).cause == "changed"
    assert tampered.verify(quick=True).holds and other.verify(quick=True).holds

    # A seal that says otherwise, by other code or another hand, hides nothing either.
    seal = chain.read_seal(tampered.lake, other.line.line)
    chain._write_seal(other.lake, other.line.line, 1, seal["bundle_oid"], {**seal["files"], key: "0" * 64}, [], None)
    findings = [one for one in tampered.verify(quick=True).findings if key in one.thing]
    assert [one.expected for one in findings] == ["sha256 " + "0" * 64]


def _byte_no_row_shows(nights: Nights, key: str) -> int:
    """In the footer: the name of the writer."""
    return nights.lake.store.get_bytes(key).rindex(b"parquet-cpp-arrow") + 3


@pytest.mark.parametrize("broken", [False, True], ids=["deleted", "broken"])
def test_a_seal_that_was_lost_is_told_for_good(tampered: Nights, broken: bool) -> None:
    store, line = tampered.lake.store, tampered.line.line
    key = chain.seal_key(line)
    if broken:
        change(store, key, '"number":2', '"number":1')
    else:
        store.remove(key)
    third, fourth = (tampered.carry_out(tampered.judge(tampered.train(n * 64), 0.3)) for n in "cd")
    for number, entry in ((3, third), (4, fourth)):
        assert entry.number == number
    assert _bundle(tampered, third.bundle_oid).seal is None
    assert _bundle(tampered, fourth.bundle_oid).seal is not None
    said = "the seal was lost before entry 3: table files older than that are compared by rows only"
    (finding,) = tampered.verify(quick=True).findings
    assert (finding.found, finding.cause, finding.bundles) == (said, "missing", (3,))

    # Who strips the mark from the seal does not strip it from the bundles.
    seal = chain.read_seal(tampered.lake, line)
    chain._write_seal(tampered.lake, line, 4, seal["bundle_oid"], seal["files"], [], None)
    assert [one.found for one in tampered.verify(quick=True).findings] == [said]


def test_a_bundle_names_the_seal_that_it_was_added_to(tampered: Nights) -> None:
    sealed = tampered.lake.store.rehash(chain.seal_key(tampered.line.line))[0]
    entry = tampered.order("promotion", "2", "up")
    assert _bundle(tampered, entry.bundle_oid).seal == sealed


def test_an_export_made_again_is_no_finding_and_its_record_is_read(tampered: Nights) -> None:
    client, line, blobs = tampered.registry.client, tampered.line.line, tampered.lake.blobs
    tag = "nightscope.export.onnx"
    client.set_model_version_tag(line, "2", tag, blobs.put_bytes(b"{}"))
    tampered.order("promotion", "2", "up")
    record = blobs.put_bytes(b'{"again": true}')
    client.set_model_version_tag(line, "2", tag, record)
    report = tampered.verify(quick=True)
    assert report.holds and report.checked["exports"] == 1, report.findings
    with _flipped(tampered.lake.store, blobs.key(record)):
        assert _said(tampered.verify(quick=True).findings, f"tag {tag}").cause == "changed"
    tampered.lake.store.remove(blobs.key(record))
    assert _said(tampered.verify(quick=True).findings, f"tag {tag}").cause == "missing"


def test_an_audit_by_newer_code_is_named_too(tampered: Nights) -> None:
    """The world's dataset version was frozen after an audit by nobody knows which code."""
    lake, line = tampered.lake, tampered.line.line
    result, report = lake.blobs.put_many([b'{"findings": []}', b"<html>no leaks, by newer code"])
    key = filing._key(line, lake.datasets.load(line, tampered.world.version).rows, clips=True)
    keep(lake, "audit", line, key, {"result_oid": result, "report_oid": report})
    entry = tampered.order("promotion", "2", "up")
    named = {one.sha256 for one in _bundle(tampered, entry.bundle_oid).objects}
    assert {result, report} <= named
