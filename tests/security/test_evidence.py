"""Attacks on the evidence by somebody who can write to S3 and MLflow, but not to the state folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from typer.testing import CliRunner

from tasks import evidence, operations, steps
from tasks.cli import app
from tasks.config import Settings, SigningSettings, load_settings
from tasks.errors import DataError, IntegrityError, NothingToDo, StorageUnavailable
from tasks.evidence import chain, heads, pending_promotions
from tasks.evidence.checks.findings import Finding, Verification
from tasks.lake import Lake, keys, open_lake
from tasks.lake.signed import bundle_statement, sign
from tasks.operations.who import os_user
from tasks.private_files import write_private
from tasks.promotion.journal import PendingPromotion, promotion_lock
from tasks.registry.served import EVIDENCE
from tasks.schemas import Answer, Decision, EvidenceEntry, NightState, Verdict, canonical_json, digest, now
from tasks.session import open_session
from tasks.steps.change_detection import finish_night, finished_night
from tasks.training.recorded import named_by_evidence
from tests.promotion.promoting import Scene


def verify(scene: Scene) -> Verification:
    return evidence.verify(open_lake(load_settings()), None, scene.name, quick=True)


def foul(scene: Scene) -> list[Finding]:
    """What no longer holds, but for the verdicts of these tests, whose numbers were made by hand."""
    return [one for one in verify(scene).findings if "verdict " not in one.thing and "numbers of" not in one.thing]


def signatures(scene: Scene) -> list[Finding]:
    return [finding for finding in verify(scene).findings if finding.cause == "signature"]


def forged(scene: Scene, version: str, **rest: Any) -> PendingPromotion:
    return PendingPromotion(
        line=scene.name, action="night", key="forged", outcome=NightState.PROMOTED, model_version=version,
        before=scene.registry.aliases(scene.name), by="ethics-board",
        answer=Answer(approved=True, by="ethics-board", note="fine", at=now()), **rest,
    )  # fmt: skip


def settle(scene: Scene) -> None:
    with promotion_lock(open_session(), scene.name):
        pass


def thief(scene: Scene, folder: Path) -> Lake:
    """The same lake, with a key of the thief's own."""
    settings = load_settings()
    return open_lake(settings.model_copy(update={"state_dir": folder / "thief", "catalog_uri": settings.iceberg_uri}))


@pytest.mark.parametrize("how", ["plain", "another key", "another line", "another kind", "another number"])
def test_a_forged_undertaking_is_set_aside_and_the_line_goes_on(
    scene: Scene, two: tuple[str, str], tmp_path: Path, how: str
) -> None:
    settings, order = load_settings(), forged(scene, two[1])
    key = pending_promotions.key_of(scene.name)
    value = order.model_dump(mode="json")
    from tasks.lake.signed import seal_json

    data = {
        "plain": lambda: order.model_dump_json().encode(),
        "another key": lambda: pending_promotions.sealed(thief(scene, tmp_path).settings, scene.name, order, 2),
        "another line": lambda: pending_promotions.sealed(settings, "another", order, 2),
        "another kind": lambda: seal_json(settings, "night", scene.name, key, value, 2),
        "another number": lambda: pending_promotions.sealed(settings, scene.name, order, 7),
    }[how]()
    scene.lake.store.put_bytes(key, data)
    before = len(signatures(scene))
    settle(scene)
    assert scene.registry.aliases(scene.name).champion == two[0]
    assert [entry.by for entry in evidence.entries(scene.lake, scene.name)] == [None]
    (aside,) = scene.lake.store.list(pending_promotions.aside_prefix(scene.name))
    assert scene.lake.store.get_bytes(aside.key) == data
    if how == "another number":  # signed by us, for another time: nobody forged anything
        assert before == 0 and any(aside.key in note for note in verify(scene).notes)
    else:
        (finding,) = signatures(scene)
        assert before == 1 and aside.key in finding.thing and "not carried out" in finding.thing
    scene.lake.store.remove(aside.key)
    third = scene.version().version
    steps.promote_model(open_session(), scene.name, {}, scene.verdict(third, two[0]))
    assert scene.champion() == (third, two[0])
    assert foul(scene) == []


def test_an_old_undertaking_cannot_be_played_again(scene: Scene, two: tuple[str, str]) -> None:
    """Really signed by us, kept by somebody, and put back when the model had been taken out of charge."""
    kept: list[bytes] = []
    remove = scene.lake.store.remove
    operations.promote_version(open_session(), scene.name, two[1], by="ana", override=True, note="try", key="k")
    order = forged(scene, two[1]).model_copy(update={"action": "promotion", "key": "k", "by": "ana"})
    kept.append(pending_promotions.sealed(load_settings(), scene.name, order, 2))
    operations.roll_back(open_session(), scene.name, by="bob", note="worse")
    scene.lake.store.put_bytes(pending_promotions.key_of(scene.name), kept[0])
    settle(scene)
    assert scene.champion() == (two[0], two[1])
    assert len(evidence.entries(scene.lake, scene.name)) == 3
    other = order.model_copy(update={"key": "never recorded"})
    scene.lake.store.put_bytes(
        pending_promotions.key_of(scene.name), pending_promotions.sealed(load_settings(), scene.name, other, 2)
    )
    settle(scene)
    assert scene.registry.aliases(scene.name).champion == two[0]
    (aside,) = scene.lake.store.list(pending_promotions.aside_prefix(scene.name))
    remove(aside.key)


def rewritten(scene: Scene, lake: Lake, number: int, sign_as: Settings | None, **changes: Any) -> None:
    """Rewrite a chain from a bundle on (0: all of it), with all hashes, rows, seal and tags made to fit."""
    rows = chain.entries(scene.lake, scene.name)
    made: list[EvidenceEntry] = []
    for row in rows:
        bundle = chain.load(scene.lake, row.bundle_oid)
        if row.number < number:
            made.append(row)
            continue
        own = changes if number in (0, row.number) else {}
        fresh = bundle.model_copy(update={**own, "previous": made[-1].bundle_oid if made else None})
        oid = lake.blobs.put_bytes(fresh.encoded())
        statement = bundle_statement(fresh.line, fresh.evidence_id, fresh.number, oid)
        signature = sign(sign_as, statement) if sign_as else None
        made.append(fresh.entry(oid, signature))
    _replace_rows(scene, made)
    content = chain.read_seal(scene.lake, scene.name)
    files = {
        key: scene.lake.store.rehash(key)[0] for table in chain.SEALED_TABLES for key in chain.files_of(lake, table)
    }
    seal = {"line": scene.name, "number": len(made), "bundle_oid": made[-1].bundle_oid, "files": files,
            "restarted": content["restarted"]}  # fmt: skip
    seal["sha256"] = chain._checksum(seal)
    if sign_as:
        seal["signature"] = sign(sign_as, chain._statement(scene.name, len(made), seal["sha256"])).model_dump()
    lake.store.put_bytes(chain.seal_key(scene.name), canonical_json(seal).encode())
    for row in made:
        tag = f"{row.number} {row.bundle_oid}"
        scene.registry.client.set_model_version_tag(scene.name, str(row.model_version), EVIDENCE, tag)


def _replace_rows(scene: Scene, rows: list[EvidenceEntry]) -> None:
    from tasks.lake.table_schemas import to_arrow

    lake = open_lake(load_settings())
    kept = lake.tables.scan("evidence")
    others = kept.filter(pa.compute.not_equal(kept.column("line"), scene.name))
    table = lake.tables._iceberg._load("evidence")
    table.overwrite(pa.concat_tables([others, to_arrow("evidence", rows)], promote_options="permissive"))


@pytest.mark.parametrize("how", ["signature dropped", "signature kept", "another key", "as before signing"])
def test_a_chain_that_was_rewritten_whole_is_found(
    scene: Scene, two: tuple[str, str], tmp_path: Path, how: str
) -> None:
    operations.promote_version(open_session(), scene.name, two[1], by="ana", override=True, note="against the gates")
    assert foul(scene) == []
    settings = load_settings()
    if how == "another key":
        rewritten(scene, thief(scene, tmp_path), 2, thief(scene, tmp_path).settings, by="ethics-board", override=False)
    elif how == "signature kept":
        (_, row) = chain.entries(scene.lake, scene.name)
        rewritten(scene, scene.lake, 2, None, by="ethics-board", override=False)
        first, second = chain.entries(scene.lake, scene.name)
        _replace_rows(scene, [first, second.model_copy(update={"signature": row.signature})])
    elif how == "as before signing":
        rewritten(scene, scene.lake, 0, None, schema_version=2, signer=None)
    else:
        rewritten(scene, scene.lake, 2, None, by="ethics-board", override=False)

    found = foul(scene)
    assert how == "as before signing" or any(o.cause == "signature" and "evidence 2" in o.thing for o in found), found
    assert any("which this machine keeps" in one.thing for one in found)

    # An auditor who has nothing but the public keys sees it, too, unless all of it looks like from before signing.
    trusted = SigningSettings(trusted_keys=settings.trusted_keys)
    auditor = settings.model_copy(update={"state_dir": tmp_path / "auditor", "signing": trusted,
                                          "catalog_uri": settings.iceberg_uri})  # fmt: skip
    seen = evidence.verify(open_lake(auditor), None, scene.name, quick=True)
    if how == "as before signing":
        assert seen.unsigned == 2 and any("unsigned, from before signing" in note for note in seen.notes)
    else:
        assert any(finding.cause == "signature" for finding in seen.findings)


def test_a_chain_whose_end_was_cut_is_found_although_everything_in_s3_and_mlflow_fits(
    scene: Scene, two: tuple[str, str]
) -> None:
    before = scene.lake.store.get_bytes(chain.seal_key(scene.name))
    (row,) = chain.entries(scene.lake, scene.name)
    operations.promote_version(open_session(), scene.name, two[1], by="ana", override=True, note="against the gates")
    cut = chain.entries(scene.lake, scene.name)[-1]
    _replace_rows(scene, [row])
    scene.lake.store.put_bytes(chain.seal_key(scene.name), before)
    scene.registry.client.delete_model_version_tag(scene.name, two[1], EVIDENCE)
    scene.lake.store.remove(scene.lake.blobs.key(cut.bundle_oid))

    wanted = f"bundle {cut.bundle_oid}"
    found = {(finding.thing[:10], finding.expected) for finding in verify(scene).findings}
    assert ("evidence 2", wanted) in found
    # What is recorded next does not make it forgotten: neither here, nor in the bundle.
    operations.roll_back(open_session(), scene.name, by="bob")
    assert ("evidence 2", wanted) in {(one.thing[:10], one.expected) for one in verify(scene).findings}
    bundle = chain.load(scene.lake, chain.entries(scene.lake, scene.name)[-1].bundle_oid)
    assert any(cut.bundle_oid in gap for gap in bundle.missing)
    with pytest.raises(IntegrityError, match=rf"{scene.name}: \d+ no longer hold"):
        operations.verify_all(open_session(), quick=True)


def test_evidence_that_is_gone_altogether_is_found(scene: Scene, two: tuple[str, str]) -> None:
    _replace_rows(scene, [])
    scene.lake.store.remove(chain.seal_key(scene.name))
    report = verify(scene)
    assert any("which this machine keeps" in finding.thing for finding in report.findings)


def test_a_forged_approval_in_the_evidence_approves_of_nothing(scene: Scene, two: tuple[str, str]) -> None:
    scene.configure(approval="required")
    verdict_id = scene.verdict(two[1], two[0])
    (row,) = chain.entries(scene.lake, scene.name)
    said = Answer(approved=True, by="airflow:eva", note="fine", at=now())
    fake = chain.load(scene.lake, row.bundle_oid).model_copy(
        update={"number": 2, "previous": row.bundle_oid, "key": verdict_id, "approval": said,
                "evidence_id": chain.evidence_id(scene.name, "night", verdict_id)}
    )  # fmt: skip
    oid = scene.lake.blobs.put_bytes(fake.encoded())
    scene.lake.tables.append("evidence", [fake.entry(oid)], key=("line", "number"))
    with pytest.raises(DataError, match="nobody has approved its newest verdict"):
        operations.promote_version(open_session(), scene.name, two[1], by="ana")
    assert [finding.bundles for finding in signatures(scene)] == [(2,)]


def test_a_forged_verdict_puts_nothing_in_charge(scene: Scene, two: tuple[str, str]) -> None:
    (own,) = scene.lake.tables.rows("verdicts", Verdict, {"line": scene.name, "model_version": two[1]})
    fake = own.model_copy(update={"verdict_id": digest(scene.name)[:24], "verdict": Decision.PROMOTE, "at": now()})
    scene.lake.tables.append("verdicts", [fake], key="verdict_id")
    with pytest.raises(DataError, match=r"its newest verdict is not believed \(.*signature is wrong"):
        operations.promote_version(open_session(), scene.name, two[1], by="ana")
    with pytest.raises(NothingToDo, match="is not believed"):
        steps.approval_request(open_session(), scene.name, {}, fake.verdict_id, report_url="u")
    with pytest.raises(NothingToDo, match="is not believed"):
        steps.promote_model(open_session(), scene.name, {}, fake.verdict_id)
    assert scene.registry.aliases(scene.name).champion == two[0]


def test_a_forged_finished_night_lets_nobody_sleep(scene: Scene) -> None:
    record = {"verdict": "promote", "model_version": "1", "dataset_version": "d", "verdict_id": "v"}
    finish_night(scene.lake, scene.name, "ours", record)
    assert finished_night(scene.lake, scene.name, "ours")
    store, ours = scene.lake.store, scene.lake.store.get_bytes(f"nights/{scene.name}/ours.json")
    for data in (json.dumps({**record, "at": "2026"}).encode(), ours):  # unsigned; signed, but of another night
        store.put_bytes(f"nights/{scene.name}/other.json", data)
        assert finished_night(scene.lake, scene.name, "other") is None


def test_who_promotes_is_the_user_of_the_system_whatever_the_environment_says(
    scene: Scene, two: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("USER", "LOGNAME", "LNAME", "USERNAME", "SUDO_USER"):
        monkeypatch.setenv(name, "ethics-board")
    done = CliRunner().invoke(app, ["promote", scene.name, "--to", two[1], "--override", "--note", "n\x1b[2Jx"])
    assert done.exit_code == 0, done.output
    entry = chain.entries(scene.lake, scene.name)[-1]
    assert entry.by == os_user() and entry.by.startswith("os:") and "ethics" not in entry.by
    assert entry.note == "n[2Jx", "no control character is kept"
    bundle = chain.load(scene.lake, entry.bundle_oid)
    assert bundle.asked_by == entry.by


def _answered(scene: Scene, verdict_id: str, by: str, asked_by: str) -> EvidenceEntry:
    said = {"approved": True, "by": by, "note": "looked at it", "at": now().isoformat()}
    try:
        steps.promote_model(open_session(), scene.name, {}, verdict_id, answer=said, by=asked_by)
    except NothingToDo as held:
        print(held)
    entry = evidence.find(scene.lake, scene.name, "night", verdict_id)
    assert entry is not None
    return entry


def test_whoever_asked_cannot_approve_where_four_eyes_are_wanted(scene: Scene, two: tuple[str, str]) -> None:
    scene.configure(approval={"required": True, "four_eyes": True})
    mine = _answered(scene, scene.verdict(two[1], two[0], salt=1), "airflow:eva", "airflow:eva")
    assert (mine.outcome, mine.by) == (NightState.HELD, "airflow:eva")
    assert "airflow:eva asked for this night, and cannot" in mine.note
    for override in (False, True):
        with pytest.raises(DataError, match="four eyes"):
            operations.promote_version(
                open_session(), scene.name, two[1], by="airflow:eva", override=override, note="I want it"
            )
    assert scene.registry.aliases(scene.name).champion == two[0]
    told = operations.promote_version(
        open_session(), scene.name, two[1], by="airflow:ana", override=True, note="I looked, too"
    )
    assert told.model_version == two[1]

    third = scene.version().version
    other = _answered(scene, scene.verdict(third, two[1]), "airflow:ana", "airflow:eva")
    assert other.outcome is NightState.PROMOTED
    fourth = scene.version().version
    clock = _answered(scene, scene.verdict(fourth, third), "airflow:eva", "")
    assert clock.outcome is NightState.PROMOTED, "the clock asked: eva's are the second eyes"
    fifth = scene.version().version
    scene.verdict(fifth, fourth, Decision.REJECT)
    with pytest.raises(DataError, match="nobody but airflow:eva has said anything"):
        operations.promote_version(
            open_session(), scene.name, fifth, by="airflow:eva", override=True, note="alone, against the gates"
        )
    operations.roll_back(open_session(), scene.name, by="airflow:eva", note="the way back takes one person")


@pytest.mark.parametrize(
    ("by", "may"),
    [("airflow:ana", True), ("airflow:eva", False), ("os:1000/bob", True), ("os:1001/ana", False), ("ana", False)],
)
def test_only_those_who_are_asked_may_answer(scene: Scene, two: tuple[str, str], by: str, may: bool) -> None:
    scene.configure(approval={"required": True, "assigned_to": ["ana", "os:1000"]})
    entry = _answered(scene, scene.verdict(two[1], two[0]), by, "")
    assert (entry.outcome is NightState.PROMOTED) is may
    assert may or f"{by} approved it, and may not" in entry.note


def test_a_note_is_text_and_no_markup_for_who_approves(scene: Scene, two: tuple[str, str]) -> None:
    scene.configure(approval="required")
    looser = {"gate.AP50.sperm.at_least": 0.0}
    verdict_id = scene.verdict(two[1], two[0], changes=looser)
    note = "ok** [here](https://evil.example) `x` https://evil.example\x1b]8;;x\x07\u202e"
    asked = steps.approval_request(
        open_session(),
        scene.name,
        looser,
        verdict_id,
        report_url="u",
        override=True,
        note=note,
        asked_by="airflow:ev`a",
    )
    inside = "`ok** [here](https://evil.example) 'x' https://evil.example]8;;x`"
    assert f"**The run overrides that: {inside}**" in asked.body
    assert "`airflow:ev'a`" in asked.body


def test_old_evidence_stays_readable_and_is_sealed_by_the_first_that_is_signed(
    scene: Scene, two: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As an installation is found after the upgrade: unsigned rows, an unsigned seal, no keys that know of it."""
    operations.promote_version(
        open_session(), scene.name, two[1], by="ana", override=True, note="before there were signatures"
    )
    rewritten(scene, scene.lake, 0, None, schema_version=2, signer=None, asked_by=None)
    settings = load_settings()
    known = {line: one for line, one in heads.read(settings).items() if line != scene.name}
    write_private(settings.heads, heads._FILE.dump_json(known))

    report = verify(scene)
    assert (foul(scene), report.unsigned, report.signed_by) == ([], 2, {})
    assert any("evidence 1-2: unsigned, from before signing; the line's next record" in note for note in report.notes)
    operations.roll_back(open_session(), scene.name, by="bob")
    report = verify(scene)
    assert (foul(scene), report.unsigned, list(report.signed_by.values())) == ([], 2, ["3"])
    assert any("sealed by evidence 3, which is signed" in note for note in report.notes)
    card = operations.read_card(open_session(), scene.name).decode()
    assert f"`{next(iter(report.signed_by))}`" in card

    # From now on nothing of it can be changed: what is unsigned hangs on what is signed.
    rewritten_first = chain.load(scene.lake, chain.entries(scene.lake, scene.name)[0].bundle_oid)
    oid = scene.lake.blobs.put_bytes(rewritten_first.model_copy(update={"by": "ethics-board"}).encoded())
    rows = chain.entries(scene.lake, scene.name)
    _replace_rows(scene, [rows[0].model_copy(update={"bundle_oid": oid, "by": "ethics-board"}), *rows[1:]])
    assert foul(scene)


def test_after_a_rotation_the_old_evidence_holds_and_the_old_key_adds_nothing(
    scene: Scene, two: tuple[str, str]
) -> None:
    settings = load_settings()
    old = settings.signing_key.read_bytes()
    waiting = forged(scene, two[1]).model_copy(update={"by": "ana", "verdict_id": None, "answer": None})
    scene.lake.store.put_bytes(
        pending_promotions.key_of(scene.name), pending_promotions.sealed(settings, scene.name, waiting, 2)
    )
    told = operations.rotate_key(open_session())
    assert told.lines[scene.name] == 1
    settle(scene)
    assert scene.champion() == (two[1], two[0]), "what was ours and waited is finished"
    report = verify(scene)
    assert foul(scene) == [] and sorted(report.signed_by.values()) == ["1", "2"]
    shown = CliRunner().invoke(app, ["verify", scene.name, "--quick", "--without-mlflow"]).stdout
    assert f"signed by {told.fingerprint}: evidence 2" in shown

    private = keys.load_private_key(_kept(settings, old), shared=False)
    from tasks.lake.signed import sign_with

    _, second = chain.entries(scene.lake, scene.name)
    statement = bundle_statement(scene.name, second.evidence_id, 2, second.bundle_oid)
    stale = sign_with(private, keys.fingerprint_of(keys.raw_public(private)), statement)
    _replace_rows(scene, [chain.entries(scene.lake, scene.name)[0], second.model_copy(update={"signature": stale})])
    assert [finding.bundles for finding in signatures(scene)] == [(2,)]


def _kept(settings: Settings, pem: bytes) -> Path:
    path = settings.state_dir / "stolen.pem"
    write_private(path, pem)
    return path


def _cut_to_one(scene: Scene, versions: tuple[str, str]) -> None:
    """Two promotions by hand, and then somebody cuts both, in the lake and in MLflow."""
    before = scene.lake.store.get_bytes(chain.seal_key(scene.name))
    (row,) = chain.entries(scene.lake, scene.name)
    operations.promote_version(
        open_session(), scene.name, versions[1], by="ana", override=True, note="against the gates"
    )
    operations.roll_back(open_session(), scene.name, by="ana", note="worse")
    _replace_rows(scene, [row])
    scene.lake.store.put_bytes(chain.seal_key(scene.name), before)


def test_a_person_confirms_the_champion_after_two_links_were_cut(scene: Scene, two: tuple[str, str]) -> None:
    _cut_to_one(scene, two)
    with pytest.raises(IntegrityError, match=r"evidence 3, which this machine has seen.*nightscope promote"):
        operations.describe_champion(open_session(), scene.name)
    with pytest.raises(DataError, match="is in charge already"):
        operations.promote_version(open_session(), scene.name, two[0], by="ana")
    with pytest.raises(DataError, match="who is in charge cannot be told"):
        operations.promote_version(open_session(), scene.name, two[0], by="ana", override=True)

    told = operations.promote_version(open_session(), scene.name, two[0], by="ana", override=True, note="I looked")

    assert (told.model_version, told.evidence, told.undo) == (two[0], 2, None)
    assert operations.describe_champion(open_session(), scene.name).model_version == two[0], "the nights go on"
    assert any(finding.thing.startswith("evidence 3") for finding in verify(scene).findings), "and it is not forgotten"
    with pytest.raises(DataError, match="is in charge already"):
        operations.promote_version(open_session(), scene.name, two[0], by="ana", override=True, note="again")


def test_a_rotation_believes_no_row_that_nobody_signed(scene: Scene, two: tuple[str, str]) -> None:
    (row,) = chain.entries(scene.lake, scene.name)
    fake = row.model_copy(update={"number": 40, "evidence_id": digest(scene.name)})
    _replace_rows(scene, [row, fake])
    assert operations.rotate_key(open_session()).lines[scene.name] == 1
    operations.promote_version(open_session(), scene.name, two[1], by="ana", override=True, note="by the new key")
    _replace_rows(scene, [row, chain.entries(scene.lake, scene.name)[-1].model_copy(update={"number": 2})])
    assert (
        operations.rotate_key(open_session(), stolen=True).lines[scene.name]
        == heads.read(load_settings())[scene.name].head.number
    )


def test_an_order_that_waited_when_a_rotation_was_killed_is_finished(
    scene: Scene, two: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    def die(*_: object) -> None:
        raise Killed

    waiting = forged(scene, two[1]).model_copy(update={"by": "ana", "verdict_id": None, "answer": None})
    scene.lake.store.put_bytes(
        pending_promotions.key_of(scene.name), pending_promotions.sealed(load_settings(), scene.name, waiting, 2)
    )
    with monkeypatch.context() as patch:
        patch.setattr(keys, "_keep_public", die)
        with pytest.raises(Killed):
            operations.rotate_key(open_session())
    settle(scene)
    assert scene.champion() == (two[1], two[0])


def test_a_rotation_waits_for_who_promotes_or_records(
    scene: Scene, two: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from tasks.lake.locks import lake_lock

    monkeypatch.setattr("tasks.operations.keys._PATIENCE_S", 0.1)
    before = keys.read_trusted(load_settings())
    for what in ("promote", "evidence"):
        with lake_lock(load_settings(), f"{what}-{scene.name}"), pytest.raises(StorageUnavailable, match=what):
            operations.rotate_key(open_session())
    assert keys.read_trusted(load_settings()) == before


@pytest.mark.parametrize("data", [b"{}", b"[]", b"null", b'{"objects": [1]}', b'{"objects": 3, "previous": null}'])
def test_a_blob_that_is_no_bundle_names_nothing(scene: Scene, two: tuple[str, str], data: bytes) -> None:
    (row,) = chain.entries(scene.lake, scene.name)
    fake = row.model_copy(update={"bundle_oid": scene.lake.blobs.put_bytes(data), "signature": None})
    _replace_rows(scene, [fake])
    assert named_by_evidence(scene.lake, scene.name, "runs/x.json", b"x") is None
