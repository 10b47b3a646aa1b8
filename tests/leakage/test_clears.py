"""A named person clears a pair that only looks alike: signed, for this pair and kind alone, shown, and taken back."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pyarrow as pa
import pytest

from tasks.errors import ConfigError, LeakageError, NotFound
from tasks.ingest.viewing import Viewer
from tasks.lake import Lake
from tasks.lake.signed import keep
from tasks.leakage import Audit, audit, audited, filed, has_passed, require_passed
from tasks.leakage.clears import clear_pair, key_of, open_record, read_clears, revoke_clear
from tasks.leakage.filing import find_refused
from tasks.leakage.findings import Finding, Side
from tasks.leakage.pair_id import Kind
from tests.leakage.recorded import dataset, pictures_of, write

LINE, EVA, NOTE = "cells", "os:1000/eva", "two donors <b>under</b> one scratched lens"


@pytest.fixture
def leaking(lake: Lake, clips: list[Path], copies: dict[str, Path]) -> pa.Table:
    """A clip and its trimmed copy, which nobody but a person can tell apart."""
    copy = copies["start and end cut off"]
    return dataset(lake, [(clips[0], "train", "a"), (clips[1], "train", "b"), (copy, "test", "c")])


def audited_now(lake: Lake, rows: pa.Table, line: str = LINE) -> Audit:
    with Viewer(lake) as viewer:
        return audited(lake, line, rows, viewer)


def clear(lake: Lake, found: Audit, note: str = NOTE) -> str:
    """Clear the only finding; its pair id."""
    (finding,) = found.findings
    clear_pair(lake, LINE, finding, by=EVA, note=note, seen=(found.result_oid, found.report_oid))
    return finding.pair_id


def test_a_refusal_names_the_command_and_a_clear_lets_the_same_rows_pass(lake: Lake, leaking: pa.Table) -> None:
    refused = audited_now(lake, leaking)
    with pytest.raises(LeakageError) as error:
        require_passed(lake, LINE, refused)
    pair = refused.findings[0].pair_id
    assert f"nightscope audit clear {LINE} {pair} --note" in str(error.value.fix)
    assert f"nightscope audit pair {LINE} {pair} --out" in str(error.value.fix)
    assert f"[pair {pair}]" in error.value.thing and error.value.expected and refused.report_oid in str(error.value)

    assert clear(lake, refused) == pair
    assert filed(lake, LINE, leaking) is None, "the refusal is not today's audit any more"
    passed = audited_now(lake, leaking)
    require_passed(lake, LINE, passed)
    summary = filed(lake, LINE, leaking)
    assert summary is not None and has_passed(summary)
    (own,) = summary["cleared_by_people"]
    assert (own["pair_id"], own["by"], own["note"], own["kind"]) == (pair, EVA, NOTE, "clip")
    assert (own["result_oid"], own["report_oid"]) == (refused.result_oid, refused.report_oid)
    assert passed.ruled_out == refused.ruled_out, "what the check ruled out by itself is another matter"

    (cleared,) = passed.cleared_by_people
    assert open_record(lake, LINE, cleared.clear).clear.by == EVA
    page = lake.blobs.get_bytes(passed.report_oid).decode()
    assert f"Cleared by {EVA} at {own['at'][:10]}" in page and "two donors &lt;b&gt;under&lt;/b&gt; one" in page
    assert page.count("data:image/jpeg;base64,") == 2 and "a person cleared" in page
    full = json.loads(lake.blobs.get_bytes(passed.result_oid))
    assert full["cleared_by_people"][0]["finding"]["one"]["recording_name"]
    assert Audit.from_full(full, passed.result_oid) == passed


def test_a_revoked_clear_refuses_again_and_can_be_given_again(lake: Lake, leaking: pa.Table) -> None:
    refused = audited_now(lake, leaking)
    pair = clear(lake, refused)
    with pytest.raises(ConfigError, match="is cleared already; found by os:1000/eva"):
        clear(lake, refused)
    revoke_clear(lake, LINE, pair, by="os:1/otto", note="a copy after all")
    assert audited_now(lake, leaking) == refused
    with pytest.raises(NotFound, match="is not cleared; found revoked by os:1/otto"):
        revoke_clear(lake, LINE, pair, by=EVA, note="again")
    clear(lake, refused, "looked again")
    assert audited_now(lake, leaking).passed
    history = read_clears(lake, LINE).histories[pair]
    assert [(event["action"], event["by"]) for event in history.events] == [
        ("clear", EVA), ("revoke", "os:1/otto"), ("clear", EVA),
    ]  # fmt: skip
    assert find_refused(lake, LINE, pair)[0].pair_id == pair


def test_a_clear_does_not_carry_over_to_another_pair_or_line(
    lake: Lake, clips: list[Path], copies: dict[str, Path]
) -> None:
    names = ("start and end cut off", "brightened")
    rows = dataset(lake, [(clips[0], "train", "a"), *((copies[name], "test", name) for name in names)])
    refused = audited_now(lake, rows)
    first, second = refused.findings
    clear_pair(lake, LINE, first, by=EVA, note=NOTE, seen=("", ""))
    again = audited_now(lake, rows)
    assert [finding.pair for finding in again.findings] == [second.pair]
    assert [own.finding.pair for own in again.cleared_by_people] == [first.pair]
    assert len(audited_now(lake, rows, "another-line").findings) == 2


def test_what_is_cleared_as_a_clip_is_still_compared_otherwise(
    lake: Lake, leaking: pa.Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The word of a person about one kind of finding hides no finding of another kind."""
    refused = audited_now(lake, leaking)
    clear(lake, refused)
    later: list[Finding] = []

    def alike(
        _: Lake, __: object, suspected: dict[tuple[str, str], object]
    ) -> tuple[list[Finding], list[Finding], int]:
        later.extend([Finding("frame", refused.findings[0].one, refused.findings[0].other, "nearly the same frame")])
        return later, [], 0

    monkeypatch.setattr("tasks.leakage.frame_matching.alike", alike)
    found = audited_now(lake, leaking)
    assert [finding.kind for finding in found.findings] == ["frame"] and len(found.cleared_by_people) == 1


@pytest.mark.parametrize("kind", ["group", "recording", "blob"])
def test_an_exact_finding_cannot_be_cleared(lake: Lake, kind: Kind) -> None:
    one, other = (Side(split, "donor:d", split, f"{split}.mp4", 0) for split in ("train", "test"))
    with pytest.raises(ConfigError, match=r"which nobody can clear.*train\.mp4.*fix: delete the labels"):
        clear_pair(lake, LINE, Finding(kind, one, other, "both belong"), by=EVA, note=NOTE, seen=("", ""))
    assert not read_clears(lake, LINE).histories


def test_a_clear_of_how_it_looks_does_not_hide_what_is_the_same_by_name(lake: Lake, leaking: pa.Table) -> None:
    clear(lake, audited_now(lake, leaking))
    one_donor = leaking.set_column(
        leaking.schema.get_field_index("group"), "group", pa.array(["donor:a"] * len(leaking))
    )
    found = audited_now(lake, one_donor)
    assert {finding.kind for finding in found.findings} == {"group"}
    with pytest.raises(LeakageError) as error:
        require_passed(lake, LINE, found)
    assert "audit clear" not in str(error.value), "nobody is told to clear what cannot be cleared"


def test_an_exact_clear_that_somebody_signed_is_ignored(lake: Lake, leaking: pa.Table) -> None:
    """Not even with our key: the kind is not one that anybody can clear."""
    key = key_of(LINE, "0" * 12)
    event = {"action": "clear", "by": EVA, "at": "2026-01-01", "note": "x"}
    keep(lake, "clear", LINE, key, {"kind": "blob", "recordings": ["a", "b"], "events": [event]})
    assert "is not a clear" in dict(read_clears(lake, LINE).ignored)[key]


@pytest.mark.parametrize("how", ["unsigned", "another line's", "another pair's", "changed", "no JSON"])
def test_what_no_key_vouches_for_is_ignored_and_named(
    lake: Lake, leaking: pa.Table, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    refused = audited_now(lake, leaking)
    pair = clear(lake, refused)
    key, data = key_of(LINE, pair), lake.store.get_bytes(key_of(LINE, pair))
    content = json.loads(data)
    if how == "unsigned":
        data = json.dumps(content["value"]).encode()
    elif how == "another line's":
        keep(lake, "clear", "other", key, content["value"])
        data = lake.store.get_bytes(key)
    elif how == "another pair's":
        lake.store.remove(key)
        key = key_of(LINE, "f" * 12)
    elif how == "changed":
        data = data.replace(EVA.encode(), b"os:0/root")
    else:
        data = b"\x1b[31mno JSON"
    lake.store.put_bytes(key, data)
    with caplog.at_level(logging.WARNING):
        found = audited_now(lake, leaking)
    assert [finding.pair_id for finding in found.findings] == [pair] and not found.cleared_by_people
    assert [name for name, _ in found.ignored_clears] == [key] and key in caplog.text
    assert "Clears that do not count" in lake.blobs.get_bytes(found.report_oid).decode()
    with pytest.raises(LeakageError, match=f"the clear {key} is ignored"):
        require_passed(lake, LINE, found)


def test_a_clear_needs_a_reason_and_a_known_pair(lake: Lake, leaking: pa.Table) -> None:
    refused = audited_now(lake, leaking)
    with pytest.raises(ConfigError, match="without a reason"):
        clear(lake, refused, " \u202e\n ")
    with pytest.raises(NotFound, match="no audit on record refused it"):
        find_refused(lake, LINE, "abcdefabcdef")


def test_what_could_not_be_looked_at_can_be_cleared_but_not_what_a_dead_worker_left(
    lake: Lake, clips: list[Path], tmp_path: Path
) -> None:
    one, other = (Side(split, "donor", split, f"{split}.mp4", 0) for split in ("train", "test"))
    found = Audit("code", 1, 2, 1, 0, (Finding("inconclusive", one, other, "gone"),), report_oid="ab" * 32)
    with pytest.raises(LeakageError, match="audit clear cells"):
        require_passed(lake, LINE, found)
    with pytest.raises(LeakageError) as error:
        require_passed(lake, LINE, Audit("code", 1, 2, 1, 0, found.findings, settled=False, report_oid="ab" * 32))
    assert "run it again" in str(error.value) and "audit clear" not in str(error.value)


def test_an_audit_of_an_older_release_is_still_read() -> None:
    """It called `cleared` what the check ruled out, and `unseen` what is inconclusive."""
    side = {"split": "train", "group": "g", "recording_id": "a", "recording_name": "a.mp4", "frame_index": 0,
            "frame_oid": None, "region": [0.0, 0.0, 1.0, 1.0]}  # fmt: skip
    finding = {"kind": "unseen", "one": side, "other": {**side, "split": "test", "recording_id": "b"}, "why": "gone",
               "evidence": {}}  # fmt: skip
    old = {"code": "old", "frames": 2, "recordings": 2, "suspects": 1, "looked_at": 0, "findings": [finding],
           "cleared": [{**finding, "kind": "frame"}], "not_compared": [["a.mp4", "why"]], "settled": True,
           "report_oid": "ab" * 32, "passed": False}  # fmt: skip
    read = Audit.from_full(old, "cd" * 32)
    assert [own.kind for own in read.findings] == ["inconclusive"]
    assert [own.kind for own in read.ruled_out] == ["frame"] and read.cleared_by_people == ()


def test_an_audit_without_clears_takes_none(lake: Lake, leaking: pa.Table) -> None:
    """The plain audit reads nothing from the lake's clears: who calls it hands them in."""
    clear(lake, audited_now(lake, leaking))
    with Viewer(lake) as viewer:
        assert not audit(lake, leaking, viewer).passed


def test_a_third_recording_with_the_same_pictures_is_another_pair(
    lake: Lake, leaking: pa.Table, clips: list[Path], tmp_path: Path
) -> None:
    clear(lake, audited_now(lake, leaking))
    copy = write(tmp_path / "third.mp4", pictures_of(clips[0])[6:-6], crf=30)
    rows = pa.concat_tables([leaking, dataset(lake, [(copy, "test", "d")])])
    found = audited_now(lake, rows)
    assert {finding.other.recording_name for finding in found.findings} == {"third.mp4"}
    assert len(found.cleared_by_people) == 1
