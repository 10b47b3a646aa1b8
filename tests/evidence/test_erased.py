"""After an erasure the chain stands; `verify` says what was erased, by which tombstone, and what it cannot check."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pyarrow as pa

from tasks.evidence import chain, erasure
from tasks.evidence.erasure.names import Names
from tasks.lake import Lake
from tasks.lake.tombstones import Tombstone, hidden
from tasks.leakage.clears import clear_pair, read_clears
from tasks.leakage.findings import Finding, Side
from tasks.promotion.verdict_rows import doubt, signed
from tasks.schemas import Recording, Verdict
from tests.evidence.world import Nights

DONOR = "Mara Quillfeather"


def _belongs_to_the_donor(lake: Lake, name: str, donor: str = DONOR, renamed: str | None = None) -> None:
    """One of the recordings is the donor's."""

    def change(rows: pa.Table) -> pa.Table:
        names = rows.column("name").to_pylist()
        donors = pa.array([donor if one == name else None for one in names], pa.string())
        called = pa.array([renamed if one == name and renamed else one for one in names], pa.string())
        rows = rows.set_column(rows.schema.get_field_index("name"), "name", called)
        return rows.set_column(rows.schema.get_field_index("donor"), "donor", donors)

    lake.tables.rewrite("recordings", change)


def _erase(nights: Nights, donor: str = DONOR) -> Tombstone:
    with erasure.quiet(nights.lake):
        scope = erasure.scope_of(nights.lake, donor)
        assert scope
        plan = erasure.make_plan(nights.lake, scope, reason="consent withdrawn", by="os:1/me")
        return erasure.carry_out(nights.lake, nights.registry, scope, plan, lambda _: None)


def _oid(name: str) -> str:
    return hashlib.sha256(f"film {name}".encode()).hexdigest()


def _log(nights: Nights, run: str, texts: dict[str, str]) -> None:
    files = {}
    for number, (name, text) in enumerate(texts.items()):
        files[name] = nights.folder / f"artifact-{number}"
        files[name].write_text(text)
    nights.registry.runs.log_files(run, files)


def _logged(nights: Nights, run: str, below: str | None = None) -> set[str]:
    found = set()
    for entry in nights.registry.client.list_artifacts(run, below):
        found |= _logged(nights, run, entry.path) if entry.is_dir else {entry.path}
    return found


def test_the_chain_stands_and_verify_names_the_tombstone(nights: Nights, tmp_path: Path) -> None:
    lake = nights.lake
    _belongs_to_the_donor(lake, "a.mp4")
    first = nights.night("a" * 64)
    lake.tables.rewrite("verdicts", lambda rows: _signed(lake, rows))
    assert nights.verify().holds
    (run,) = {one.mlflow_run for one in lake.tables.rows("verdicts", Verdict)}
    _log(
        nights,
        run,
        {
            "test/report.html": "<p>a.mp4",
            "val/labels_beside_predictions_0.jpg": "frames",
            "training/notes.csv": "a.mp4,b.mp4",
        },
    )
    tombstone = _erase(nights)
    assert _logged(nights, run) == {"model-card.md", "training/notes.csv"}
    notes = nights.registry.client.download_artifacts(run, "training/notes.csv", str(tmp_path))
    assert Path(notes).read_text() == f"erased-{hidden(_oid('a.mp4'))[:12]}.mp4,b.mp4"
    found = nights.verify()
    assert found.holds, found.findings
    assert any(tombstone.key in note and "consent withdrawn" in note for note in found.notes)
    assert any("cannot be computed again" in note for note in found.notes)
    assert [model.version for model in tombstone.models] == ["1"], "though this world keeps no notes of versions"
    assert all(b"a.mp4" not in lake.store.get_bytes(info.key) for info in lake.store.list("blobs/"))
    assert chain.load(lake, first.bundle_oid).model_version == "1", "the old bundle's name leads to its copy"
    (verdict,) = lake.tables.rows("verdicts", Verdict)
    assert doubt(lake.settings, verdict) is None and "a.mp4" not in verdict.model_dump_json()
    assert [one.name for one in lake.tables.rows("recordings", Recording)].count("a.mp4") == 0
    nights.night("b" * 64, error=0.3)  # and it goes on
    assert nights.verify().holds
    forged = tombstone.model_copy(update={"donor": "f" * 64, "removed": (hidden(verdict.evaluation_oid),)})
    value = json.loads(lake.store.get_bytes(tombstone.key)) | {
        "value": forged.model_dump(mode="json"),
        "name": forged.key,
    }
    lake.store.put_bytes(forged.key, json.dumps(value).encode())
    lake.store.remove(lake.blobs.key(str(verdict.line_oid)))
    broken = {(one.cause, one.thing.split(" ")[0]) for one in nights.verify().findings}
    assert ("signature", "tombstone") in broken and ("missing", "line") in broken


def test_clears_of_the_donors_recordings_go_and_others_stay(nights: Nights) -> None:
    lake, line = nights.lake, nights.line.line
    _belongs_to_the_donor(lake, "a.mp4")
    sides = [Side(split, "g", _oid(name), name, 0) for split, name in (("train", "a.mp4"), ("test", "b.mp4"))]
    other = Side("train", "g", _oid("c.mp4"), "c.mp4", 0)
    for one, two, note in ((sides[0], sides[1], "a scratch"), (other, sides[1], "dirt"), (other, other, f"as {DONOR}")):
        clear_pair(lake, line, Finding("clip", one, two, "same"), by="os:1/eva", note=note, seen=("", ""))
    nights.night("a" * 64)
    tombstone = _erase(nights)
    (left,) = read_clears(lake, line).histories.values()
    assert left.clear.note == "dirt" and not read_clears(lake, line).ignored
    assert tombstone.counts["clears of the leak audit"] == 2
    assert nights.verify().holds


def _signed(lake: Lake, rows: pa.Table) -> pa.Table:
    from tasks.lake.table_schemas import from_arrow, to_arrow

    return to_arrow("verdicts", [signed(lake.settings, one) for one in from_arrow(rows, Verdict)])


def test_a_donor_or_film_called_like_a_word_of_ours_renames_nothing_else(nights: Nights) -> None:
    lake = nights.lake
    _belongs_to_the_donor(lake, "a.mp4", donor="line", renamed="promote.mp4")
    first = nights.night("a" * 64)
    lake.tables.rewrite("verdicts", lambda rows: _signed(lake, rows))
    (before,) = lake.tables.rows("verdicts", Verdict)
    assert before.line.startswith("line-") and before.verdict == "promote"
    _erase(nights, "line")
    (after,) = lake.tables.rows("verdicts", Verdict)
    assert (after.line, after.verdict, after.gates) == (before.line, before.verdict, before.gates)
    assert doubt(lake.settings, after) is None
    assert chain.load(lake, first.bundle_oid).line == before.line
    found = nights.verify()
    assert found.holds, found.findings


def test_identities_stay_whatever_a_name_is() -> None:
    names = Names(("Ann", "x"), {"sperm": "e1", "sperm.mp4": "e1.mp4", "hold": "e2"}, ["sperm-detector", "hold"])
    assert names.text("sperm-detector: hold, see sperm.mp4 by Ann") == "sperm-detector: hold, see e1.mp4 by x"
    unknown = Names(("Ann", "x"), {"sperm": "e1", "hold": "e2"})  # of a line that has left nothing
    value = {
        "line": "sperm-detector",
        "verdict": "hold",
        "model_version": "sperm",
        "classes": ["sperm"],
        "note": "hold",
    }
    assert unknown.value(value) == value | {"note": "e2"}
    assert unknown.value({"verdict": {"note": "of Ann", "line": "Ann"}}) == {"verdict": {"note": "of x", "line": "Ann"}}


def test_names_are_found_where_they_are_names() -> None:
    names = Names(
        ("Ann", "erased-1"), {"S_1": "erased-2", "S_1.mp4": "erased-2.mp4", "7": "erased-3", "7.mp4": "x.mp4"}
    )
    assert names.text("S_10 S_1_frame_3 S_1.mp4 Annex Ann") == "S_10 erased-2_frame_3 erased-2.mp4 Annex erased-1"
    assert names.text("AP50 0.7 on 7.mp4 of donor:Ann") == "AP50 0.7 on x.mp4 of donor:erased-1"
    assert names.value({"S_1.mp4": ["donor:Ann", 7], "Ann": 1}) == {"erased-2.mp4": ["donor:erased-1", 7], "Ann": 1}
    assert names.mentioned("<td>S_1.mp4</td>") and not names.mentioned("<td>S_11.mp4</td>")
