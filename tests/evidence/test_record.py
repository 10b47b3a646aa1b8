"""One entry for each thing that happened, whatever dies and whoever else writes."""

from __future__ import annotations

import multiprocessing
import sys
from datetime import timedelta
from typing import Any

import pytest

from tasks import evidence
from tasks.evidence import chain
from tasks.lake.denoisers import denoiser_place
from tasks.lake.gc import GRACE, collect
from tasks.registry.served import EVIDENCE, served_card
from tasks.schemas import Aliases, Answer, EvidenceEntry, NightState, now
from tests.evidence.world import Nights, flip, sha256
from tests.lake.test_denoisers import a_version

FIRST = "a" * 64


class Killed(BaseException):
    """What a kill -9 looks like from inside: nothing catches it."""


def test_a_bundle_names_everything_that_the_decision_rests_on(nights: Nights) -> None:
    first = nights.night(FIRST)
    second = nights.night("b" * 64, error=0.3)
    bundle = chain.load(nights.lake, second.bundle_oid)
    assert (second.number, second.previous_oid, bundle.previous) == (2, first.bundle_oid, first.bundle_oid)
    assert (
        bundle.entry(second.bundle_oid, second.signature)
        == second
        == evidence.find(nights.lake, nights.line.line, "night", bundle.key)
    )
    assert bundle.missing == ()
    assert bundle.before.champion == bundle.after.champion == first.model_version
    verdict, data = bundle.verdict, bundle.data
    assert verdict is not None and data is not None
    assert (data.frames, data.groups, data.about["validation"]["snapshots"]) == (
        16,
        {"test": 3, "train": 1},
        {"annotations": 7},
    )
    assert {role: model.model_version for role, model in bundle.models.items()} == {
        "challenger": second.model_version,
        "champion": first.model_version,
    }
    training = bundle.models["challenger"].training
    assert training is not None and "history" not in training
    assert (training["seed"], training["git_dirty"], training["lock_sha256"]) == (3, True, "1" * 64)
    assert bundle.models["challenger"].weights_oid in bundle.models["challenger"].served.values()
    assert {"numpy", "torch", "ultralytics"} <= bundle.code.libraries.keys() and bundle.code.lock_sha256
    oids = {named.sha256 for named in bundle.objects}
    about = data.about
    assert oids >= {
        data.dataset_version, data.about_sha256, *data.recordings, verdict.evaluation_oid, verdict.report_oid,
        verdict.line_oid, bundle.card_oid, training["checkpoint_oid"], training["files"]["results.csv"],
        *(about["validation"][f"{name}_oid"] for name in ("result", "report", "dataset")),
        *(about["leak_check"][f"{name}_oid"] for name in ("result", "report")),
        sha256(b"PAR1 accepted labels"), sha256(b"frame times"),
    }  # fmt: skip


def test_recording_again_is_recording_once(nights: Nights) -> None:
    verdict = nights.judge(nights.train(FIRST), 0.1)
    once = nights.carry_out(verdict)
    assert nights.carry_out(verdict) == once
    assert evidence.entries(nights.lake, nights.line.line) == [once]


def test_killed_anywhere_and_repeated_there_is_one_entry(nights: Nights, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before and after each write: card, bundle, row, seal, what MLflow shows."""
    nights.night(FIRST)
    verdict = nights.judge(nights.train("b" * 64), 0.3)
    recording = sys.modules["tasks.evidence.record"]
    for where in ("model_card.render", "lake.blobs.put_bytes", "lake.tables.append", "chain.seal", "describe"):
        with monkeypatch.context() as patch:
            if where.startswith("lake."):
                _, room, method = where.split(".")
                patch.setattr(getattr(nights.lake, room), method, _die)
            else:
                place = getattr(recording, where.split(".")[0]) if "." in where else recording
                patch.setattr(place, where.rpartition(".")[2], _die)
            with pytest.raises(Killed):
                nights.carry_out(verdict)
    entry = nights.carry_out(verdict)
    assert [link.number for link in evidence.entries(nights.lake, nights.line.line)] == [1, 2]
    tags = nights.registry.client.get_model_version(nights.line.line, verdict.model_version).tags
    assert tags[EVIDENCE] == f"2 {entry.bundle_oid}"
    assert nights.verify(quick=True).holds


def _die(*_: Any, **__: Any) -> Any:
    raise Killed


def _record_many(nights: Nights, name: str, barrier: Any, together: bool) -> None:
    if not together:  # as on two machines: no lock in common
        nights.lake.settings.state_dir = nights.folder / name
        nights.lake.settings.catalog_uri = nights.lake.settings.catalog_uri or "unset"
    barrier.wait()
    for number in range(3):
        _by_hand(nights, f"{name}-{number}")


def _by_hand(nights: Nights, key: str, version: str | None = None) -> EvidenceEntry:
    return evidence.record(
        nights.lake,
        nights.registry,
        line=nights.line.line,
        action="rollback",
        key=key,
        outcome=NightState.ROLLED_BACK,
        verdict=None,
        model_version=version,
        before=Aliases(champion="2"),
        after=Aliases(champion="1"),
        by="Ada",
        note="worse on the ward",
    )


@pytest.mark.parametrize("together", [True, False], ids=["one-machine", "two-machines"])
def test_two_processes_at_once_make_one_chain(nights: Nights, together: bool) -> None:
    nights.lake.settings.catalog_uri = nights.lake.settings.iceberg_uri
    fork = multiprocessing.get_context("fork")
    barrier = fork.Barrier(2)
    workers = [fork.Process(target=_record_many, args=(nights, name, barrier, together)) for name in ("left", "right")]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(120)
    assert [worker.exitcode for worker in workers] == [0, 0]
    links = evidence.entries(nights.lake, nights.line.line)
    assert [link.number for link in links] == [1, 2, 3, 4, 5, 6]
    assert [link.previous_oid for link in links] == [None, *(link.bundle_oid for link in links[:-1])]
    assert len({link.evidence_id for link in links}) == 6


def test_a_persons_rollback_names_the_model_and_its_training(nights: Nights) -> None:
    first = nights.night(FIRST)
    entry = _by_hand(nights, "request-1", first.model_version)
    bundle = chain.load(nights.lake, entry.bundle_oid)
    assert (entry.number, entry.by, entry.note, entry.outcome) == (2, "Ada", "worse on the ward", "rolled_back")
    assert bundle.models["subject"].training is not None
    assert bundle.data is not None and bundle.data.dataset_version == nights.world.version
    assert bundle.card_oid == served_card(nights.registry, bundle.models["subject"].mlflow_run)


def test_who_approved_is_written_down(nights: Nights) -> None:
    verdict = nights.judge(nights.train(FIRST), 0.1)
    entry = evidence.record(
        nights.lake, nights.registry, line=nights.line.line, action="night", key=verdict.verdict_id,
        outcome=NightState.HELD, verdict=verdict, model_version=verdict.model_version, before=Aliases(),
        after=Aliases(), answer=Answer(approved=False, by="Grace", note="wait for the new lens", at=now()),
    )  # fmt: skip
    assert (entry.by, entry.note) == ("Grace", "wait for the new lens")
    bundle = chain.load(nights.lake, entry.bundle_oid)
    assert bundle.approval is not None and not bundle.approval.approved
    assert "wait for the new lens" in nights.lake.blobs.get_bytes(str(bundle.card_oid)).decode()


def test_what_is_gone_already_is_said_and_stops_nobody(nights: Nights) -> None:
    verdict = nights.judge(nights.train(FIRST), 0.1)
    nights.lake.store.remove(nights.lake.blobs.key(str(verdict.report_oid)))
    nights.lake.store.remove(f"datasets/{nights.line.line}/{nights.world.version}/manifest.parquet")
    bundle = chain.load(nights.lake, nights.carry_out(verdict).bundle_oid)
    assert "report" in bundle.missing
    assert any(gap.startswith("dataset ") for gap in bundle.missing)
    assert bundle.data is None


def test_a_bundle_names_the_denoiser_that_a_model_carries(nights: Nights) -> None:
    """Its weights, and the record of how it was trained; a byte of either that is changed is found."""
    nights.denoiser = a_version(nights.lake, "k")
    entry = nights.night(FIRST)
    bundle = chain.load(nights.lake, entry.bundle_oid)
    assert bundle.missing == ()
    named = {one.key: one.what for one in bundle.objects}
    place = denoiser_place("speckle/1")
    assert named[place] == f"record of the denoiser of model version {entry.model_version}"
    assert (
        named[nights.lake.blobs.key(nights.denoiser.weights_oid)] == f"denoiser of model version {entry.model_version}"
    )
    assert "denoiser `speckle/1` first" in nights.lake.blobs.get_bytes(str(bundle.card_oid)).decode()
    assert nights.verify().holds
    flip(nights.lake.store, place)
    assert any("record of the denoiser" in finding.thing for finding in nights.verify().findings)


def test_the_collector_keeps_all_that_a_bundle_names(nights: Nights) -> None:
    entry = nights.night(FIRST)
    nights.night("b" * 64, error=0.3)
    lake = nights.lake
    loose = lake.blobs.put_bytes(b"left by a crash")
    taken = collect(lake, at=now() + GRACE + timedelta(minutes=1), dry_run=False).unreferenced
    named = {one.sha256 for one in chain.load(lake, entry.bundle_oid).objects} | {entry.bundle_oid}
    assert loose in taken and not named & set(taken)
    assert nights.verify().holds
