"""Collection takes what nothing refers to, and nothing else."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tasks.errors import DataError
from tasks.lake import Lake, open_lake
from tasks.lake.gc import GRACE, collect
from tasks.lake.object_store import ObjectStore
from tasks.schemas import Frame, canonical_json, now
from tests.lake.nouns import frame
from tests.lake.test_datasets import LINE, rows

LATER = GRACE + timedelta(minutes=1)


def filled(lake: Lake) -> tuple[set[str], str]:
    """A lake where something refers to every blob but one. Returns the referenced oids, and the loose one."""
    blobs = lake.blobs
    image, in_manifest, about, predictions, checkpoint = blobs.put_many(
        [b"image", b"labelled image", b"report", b"predictions", b"checkpoint"]
    )
    evaluation = blobs.put_bytes(canonical_json({"predictions": {"challenger": predictions}}).encode())
    lake.tables.append("frames", [frame(1).model_copy(update={"oid": image})])
    lake.datasets.save(LINE, rows([1], frame_oid=in_manifest), {"report": about, "evaluation": f"sha256:{evaluation}"})
    lake.store.put_bytes("checkpoints/run.json", canonical_json({"oid": checkpoint}).encode())
    return {image, in_manifest, about, predictions, evaluation, checkpoint}, blobs.put_bytes(b"left by a crash")


def test_a_dry_run_only_tells(lake: Lake) -> None:
    kept, loose = filled(lake)
    told = collect(lake, at=now() + LATER)
    assert (told.unreferenced, told.size_bytes, told.removed) == ((loose,), len(b"left by a crash"), 0)
    assert all(lake.blobs.exists(oid) for oid in {*kept, loose})


def test_it_takes_only_what_is_loose(lake: Lake) -> None:
    kept, loose = filled(lake)
    assert collect(lake, at=now() + LATER, dry_run=False).removed == 1
    assert not lake.blobs.exists(loose)
    assert all(lake.blobs.exists(oid) for oid in kept)
    assert collect(lake, at=now() + LATER, dry_run=False).unreferenced == ()


def test_young_blobs_are_kept(lake: Lake) -> None:
    _, loose = filled(lake)
    told = collect(lake, dry_run=False)
    assert (told.unreferenced, told.kept_young, told.removed) == ((), 1, 0)
    assert lake.blobs.exists(loose)


def test_what_others_refer_to_can_be_protected(lake: Lake) -> None:
    _, loose = filled(lake)
    weights = lake.blobs.put_bytes(b"weights")
    card = lake.blobs.put_bytes(canonical_json({"weights": weights}).encode())
    assert collect(lake, at=now() + LATER, protected=[card]).unreferenced == (loose,)


def test_superseded_table_files_go(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.lake.tables.MAX_FILES", 5)
    for number in range(7):
        lake.tables.append("frames", [frame(number)])
    before = lake.tables.rows("frames", Frame)
    assert not [key for key in collect(lake, at=now() + LATER).table_files if key.endswith(".parquet")]
    assert lake.tables.expire("frames", now() + LATER, ())[1] == 1
    told = collect(lake, at=now() + LATER, dry_run=False)
    assert len([key for key in told.table_files if key.endswith(".parquet")]) == 6
    assert lake.tables.rows("frames", Frame) == before == [frame(number) for number in range(7)]
    lake.tables.append("frames", [frame(7)])
    assert len(lake.tables.rows("frames", Frame)) == 8


def test_models_are_not_fetched(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither those in MLflow's part of the bucket, nor the weights, checkpoints and exports among the blobs."""
    kept, loose = filled(lake)
    weights, last, export, table, unknown = lake.blobs.put_many(
        [b"{weights of a model", b"{its checkpoint", b"{an export", b"PAR1 a table", b"what no record tells"]
    )
    named = lake.blobs.put_bytes(b"named by a document that a record calls a file")
    document = lake.blobs.put_bytes(canonical_json({"oid": named}).encode())
    record = {"weights_oid": weights, "checkpoint_oid": last, "files": {"model.onnx": export, "about.json": document}}
    bundle = lake.blobs.put_bytes(canonical_json([record, {"predictions": table, "other": unknown}]).encode())
    lake.store.put_bytes("evidence/1.json", canonical_json({"bundle": bundle}).encode())
    for name in ("model.pkl", "weights.pt", "model.onnx", "data.bin"):
        lake.store.put_bytes(f"mlflow/1/models/m-1/artifacts/{name}", b"a model")
    card = lake.blobs.put_bytes(b"a card that only MLflow names")
    lake.store.put_bytes("mlflow/1/models/m-1/artifacts/MLmodel", f"card: {card}".encode())

    whole, first = [], []
    stream, first_bytes = ObjectStore._stream, ObjectStore.first_bytes
    monkeypatch.setattr(ObjectStore, "_stream", lambda own, key: (whole.append(key), stream(own, key))[1])
    monkeypatch.setattr(
        ObjectStore,
        "first_bytes",
        lambda own, key, count: (first.append((key, count)), first_bytes(own, key, count))[1],
    )
    told = collect(lake, at=now() + LATER, dry_run=False)
    assert told.unreferenced == (loose,) and told.removed == 1
    asked = {key.rsplit("/", 1)[1] for key in whole}
    assert not asked & {weights, last, export, table, unknown, "model.pkl", "weights.pt", "model.onnx", "data.bin"}
    assert {bundle, document} <= asked
    assert {count for _, count in first} == {1}
    assert not {key.rsplit("/", 1)[1] for key, _ in first} & {weights, last, export}
    assert all(lake.blobs.exists(oid) for oid in (*kept, weights, last, export, table, unknown, named, card))


def test_what_may_be_a_document_is_read_whatever_its_name_or_its_key(lake: Lake) -> None:
    """A blob that a dotted key names may name others, and so may a file of an end that nobody foresaw."""
    _, loose = filled(lake)
    inner, listed = lake.blobs.put_many([b"named by a result alone", b"named by a list alone"])
    result = lake.blobs.put_bytes(canonical_json({"oid": inner}).encode())
    lake.store.put_bytes("experiments/1.json", canonical_json({"nightscope.result_oid": result}).encode())
    lake.store.put_bytes("experiments/1.jsonl", canonical_json({"oid": listed}).encode())
    assert collect(lake, at=now() + LATER, dry_run=False).unreferenced == (loose,)
    assert all(lake.blobs.exists(oid) for oid in (inner, result, listed))


def test_a_lost_catalog_stops_it(lake: Lake) -> None:
    """Without the catalog everything looks unreferenced: the worst moment to remove anything."""
    filled(lake)
    lost = lake.settings.model_copy(update={"catalog_uri": f"sqlite:///{lake.settings.state_dir}/another.db"})
    with pytest.raises(DataError, match="that the catalog does not know"):
        collect(open_lake(lost), at=now() + LATER, dry_run=False)
