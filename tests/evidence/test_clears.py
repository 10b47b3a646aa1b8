"""`verify` lists the clears on which evidence rests, and finds one that no trusted key vouches for."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest

from tasks.evidence.checks.clears import check_clears
from tasks.evidence.checks.findings import Findings
from tasks.lake import Lake
from tasks.lake.keys import rotate
from tasks.leakage.clears import clear_pair, read_clears, recorded
from tasks.leakage.findings import Finding, Side

LINE = "cells"


def bundle(lake: Lake, record: bytes | None = None, **changes: Any) -> Any:
    """A bundle that names an audit's result with one clear, whose signed record may be another one."""
    one, other = (Side(split, "donor", split * 8, f"{split}.mp4", 0) for split in ("train", "test"))
    finding = Finding("clip", one, other, "the same")
    if not read_clears(lake, LINE).histories:
        clear_pair(lake, LINE, finding, by="os:1/eva", note="a scratch", seen=("", ""))
    clears = read_clears(lake, LINE)
    (clear,) = clears.active(["train" * 8, "test" * 8])
    clear = recorded(lake, clears, clear)
    content = clear.as_json() | changes
    if record is not None:
        content["record_oid"] = lake.blobs.put_bytes(record)
    result = lake.blobs.put_bytes(
        json.dumps({"cleared_by_people": [{"finding": finding.as_json(), "clear": content}]}).encode()
    )
    named = SimpleNamespace(what="newest leak check's result of dataset abc", sha256=result)
    return SimpleNamespace(line=LINE, number=3, objects=(named,))


def checked(lake: Lake, own: Any) -> Findings:
    found = Findings()
    check_clears(lake, [own], found)
    return found


def test_a_signed_clear_is_a_note(lake: Lake) -> None:
    found = checked(lake, bundle(lake))
    assert not found.found and found.checked["clears"] == 1
    assert "os:1/eva" in found.notes[0] and "a scratch" in found.notes[0]


@pytest.mark.parametrize("how", ["unsigned", "by somebody else", "about another pair"])
def test_one_that_no_key_vouches_for_is_a_finding(lake: Lake, how: str) -> None:
    good = bundle(lake)
    own = {
        "unsigned": lambda: bundle(lake, record=b'{"kind": "clip"}'),
        "by somebody else": lambda: bundle(lake, by="os:0/root"),
        "about another pair": lambda: bundle(lake, recordings=["other", "test" * 8]),
    }[how]()
    assert not checked(lake, good).found
    (finding,) = checked(lake, own).found
    assert (finding.cause, finding.bundles) == ("signature", (3,))


def test_a_clear_by_a_key_that_was_stolen_later_is_a_note(lake: Lake) -> None:
    """The bundle names its record by hash, and is believed."""
    own = bundle(lake)
    rotate(lake.settings, {}, stolen=True)
    found = checked(lake, own)
    assert not found.found and any("rotated out" in note for note in found.notes)
