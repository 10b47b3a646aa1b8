"""An audit is made once, refused with the pairs and the report named, and shown with pictures."""

from __future__ import annotations

import json
import re
import sys
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest

from tasks.errors import LeakageError
from tasks.ingest.viewing import Viewer
from tasks.lake import Lake
from tasks.leakage import audit_code, audited, filed, has_passed, require_passed
from tasks.leakage.findings import Audit, Finding, Side
from tasks.leakage.report import MOST_BYTES, render_report
from tests.leakage.recorded import dataset, pictures_of, write


@pytest.fixture
def leaking(lake: Lake, clips: list[Path], copies: dict[str, Path]) -> pa.Table:
    copy = copies["30 % cut off left and bottom"]
    return dataset(lake, [(clips[0], "train", "a"), (clips[1], "train", "b"), (copy, "test", "c")])


def test_a_leak_is_refused_with_its_pair_and_its_report(lake: Lake, leaking: pa.Table) -> None:
    with Viewer(lake) as viewer:
        found = audited(lake, "cells", leaking, viewer)
    with pytest.raises(
        LeakageError, match=r"a part of one clip stands in two splits.*swim-01\.mp4 frame \d+"
    ) as refused:
        require_passed(lake, "cells", found)
    assert found.report_oid in str(refused.value)
    page = lake.blobs.get_bytes(found.report_oid).decode()
    assert len(page) < MOST_BYTES
    assert page.count("data:image/jpeg;base64,") == 2, "both recordings, side by side"
    assert "local features agree on where" in page
    assert "give both the same donor" in page
    assert re.findall(r"<i style=\"left: (\d+)\.\d+%", page) in (["29"], ["30"]), "the common part is marked"
    assert not re.search(r'(src|href)="(?!data:)', page), "it must work offline"
    assert json.loads(lake.blobs.get_bytes(found.result_oid))["findings"][0]["kind"] == "crop"


def test_the_same_rows_are_audited_once(lake: Lake, leaking: pa.Table, monkeypatch: pytest.MonkeyPatch) -> None:
    first = audited(lake, "cells", leaking)
    monkeypatch.setattr("tasks.leakage.filing.audit", lambda *_: pytest.fail("audited again"))
    turned_round = leaking.take(list(reversed(range(len(leaking)))))
    assert audited(lake, "cells", turned_round) == first


def test_other_rows_or_other_code_are_audited_again(
    lake: Lake, leaking: pa.Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = audited(lake, "cells", leaking)
    assert audited(lake, "cells", leaking.slice(1)).frames == first.frames - 1
    monkeypatch.setattr("tasks.leakage.filing.audit_code", lambda clips: "other")
    monkeypatch.setattr("tasks.leakage.filing.audit", lambda *_: Audit("other", 1, 1, 0, 0, ()))
    assert audited(lake, "cells", leaking).code == "other"


def test_a_clean_audit_passes_and_its_report_says_so(lake: Lake, clips: list[Path]) -> None:
    rows = dataset(lake, [(clips[0], "train", "a"), (clips[1], "test", "b")])
    with Viewer(lake) as viewer:
        found = audited(lake, "cells", rows, viewer)
    require_passed(lake, "cells", found)
    assert has_passed(found.as_json())
    assert "No leak found" in lake.blobs.get_bytes(found.report_oid).decode()


def test_an_audit_without_clips_or_by_other_code_is_none(lake: Lake, clips: list[Path]) -> None:
    rows = dataset(lake, [(clips[0], "train", "a"), (clips[1], "test", "b")])
    assert not has_passed(audited(lake, "cells", rows).as_json())
    assert not has_passed({"passed": True, "code": "older"})
    assert not has_passed({"passed": False, "code": audit_code(), "settled": True})
    assert not has_passed({"passed": True, "code": audit_code(), "settled": False})
    assert has_passed({"passed": True, "code": audit_code(), "settled": True})
    assert not has_passed({})


def test_what_a_dead_worker_left_open_is_looked_at_again(
    lake: Lake, clips: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    later = write(tmp_path / "later.mp4", pictures_of(clips[0])[5:])
    rows = dataset(lake, [(clips[0], "train", "a"), (later, "test", "b")])
    with monkeypatch.context() as broken, Viewer(lake) as viewer:
        broken.setattr(sys, "executable", "/bin/false")
        first = audited(lake, "cells", rows, viewer)
    assert [name for name, why in first.not_compared if "crashed" in why] == ["later.mp4", clips[0].name]
    assert not has_passed(first.as_json())
    assert filed(lake, "cells", rows) is None
    with Viewer(lake) as viewer:
        second = audited(lake, "cells", rows, viewer)
    assert [finding.kind for finding in second.findings] == ["clip"]
    assert filed(lake, "cells", rows) is not None


def test_what_could_not_be_ruled_out_is_refused_as_such(lake: Lake) -> None:
    one, other = (Side(split, "donor", split, f"{split}.mp4", 0) for split in ("train", "test"))
    inconclusive = Finding("inconclusive", one, other, "could not be looked at")
    open_ = Audit("code", 1, 2, 1, 0, (inconclusive,), settled=False)
    with pytest.raises(LeakageError, match=r"two clips look like one and could not be looked at: .*run it again"):
        require_passed(lake, "cells", replace(open_, report_oid="ab" * 32))
    page = render_report(lake, "cells", open_, None)
    assert "0 leaks, 1 not ruled out: refused" in page
    assert "not those in train" in page
    assert Audit.from_full(open_.in_full(), "") == open_
