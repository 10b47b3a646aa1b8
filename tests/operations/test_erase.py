"""A donor's data goes for good, whatever moment it is killed at, and comes again only where somebody says so."""

from __future__ import annotations

import hashlib
import json
import zipfile
from io import BytesIO
from pathlib import Path

import pyarrow as pa
import pytest
from typer.testing import CliRunner

from tasks import operations
from tasks.cli import app
from tasks.errors import ConfigError, NotFound, StorageUnavailable
from tasks.evidence import erasure
from tasks.ingest import sidecar
from tasks.ingest.recordings import ingest_new
from tasks.lake import Lake, ObjectStore, open_lake
from tasks.lake.locks import lake_lock
from tasks.lake.pseudonyms import pseudonym
from tasks.lake.tombstones import Tombstone, hidden, tombstone_key
from tasks.operations.champion import learned_from_erased
from tasks.registry.runs import EpochMetrics
from tasks.schemas import Landing, Prediction, QuarantineItem, Recording, SplitAssignment, canonical_json, now
from tasks.session import open_session
from tasks.steps.change_detection import finish_night, finished_night
from tasks.training.records import Checkpoint, Origin, Trained, checkpoint_key, trained_key, version_key, write
from tests.ingest.stills.pictures import a_line
from tests.ingest.stills.pictures import write as picture
from tests.lake.nouns import before_tables_retired
from tests.validation.factory import a_recording, an_annotation, put_frame

DONOR, OTHER, LINE, RUN = "Mara Quillfeather", "Otto Other", "cells", "e" * 64
PICTURES = (
    "training/train_batch0.jpg",
    "training/labels.jpg",
    "training/contact_sheet_stage_02.jpg",
    "val/labels_beside_predictions_0.jpg",
    "train_sample/labels_beside_predictions_1.jpg",
)
FILMS = {DONOR: ("Quillfeather_1", "Quillfeather_2"), OTHER: ("clip_1", "clip_2")}


def _film(name: str) -> bytes:
    return f"every byte of the film {hashlib.sha256(name.encode()).hexdigest()}".encode()


def _fill(lake: Lake) -> str:
    """Two donors with all that a few nights leave of them; returns the dataset version."""
    lake.frames.store.ensure_bucket()
    rows, recordings, landings, frames = [], [], [], []
    for donor, names in FILMS.items():
        for name in names:
            key = f"study/{name}.mp4"
            lake.landing.put_bytes(key, _film(name))
            lake.landing.put_bytes(sidecar.key_of(key), sidecar.Sidecar(donor=donor, name=f"{name}.mp4").as_bytes())
            info = lake.landing.head(key)
            assert info
            pts = lake.blobs.put_bytes(b"the same frame times")
            recording = a_recording(
                name, donor=donor, recording_id=lake.blobs.put_bytes(_film(name)), landing_key=key, pts_oid=pts
            )
            recordings.append(recording)
            landings.append(
                Landing(
                    key=key, etag=info.etag, size_bytes=info.size_bytes, modified_at=info.modified_at,
                    recording_id=recording.recording_id, outcome="ingested", seen_at=now(),
                )
            )  # fmt: skip
            lake.store.put_bytes(f"signatures/code/{recording.recording_id[:2]}/{recording.recording_id}.npz", b"PK")
            frames += [put_frame(lake, recording, index, line=LINE) for index in range(2)]
    by_id = {one.recording_id: one for one in recordings}
    lake.frames.publish(frame.oid for frame in frames)
    annotations = [an_annotation(frame) for frame in frames]
    for frame, annotation in zip(frames, annotations, strict=True):
        one = by_id[frame.recording_id]
        rows.append(
            {
                "split": "train" if one.donor == DONOR else "test", "group": one.group,
                "recording_id": one.recording_id, "recording_name": one.name, "frame_index": frame.frame_index,
                "frame_oid": frame.oid, "media_type": "image/png", "pts_s": 0.0, "width_px": 64, "height_px": 48,
                "annotation_id": annotation.annotation_id, "revision_id": annotation.revision_id, "objects": "[]",
            }
        )  # fmt: skip
    page = lake.blobs.put_bytes(f"<html><p>{by_id[frames[0].recording_id].name}</p></html>".encode(), "text/html")
    result = lake.blobs.put_bytes(
        canonical_json({"frames": [frames[0].oid], "name": f"{FILMS[DONOR][0]}.mp4"}).encode()
    )
    about = {"validation": {"report_oid": page, "result_oid": result}, "splits": {f"donor:{DONOR}": "train"}}
    version = lake.datasets.save(LINE, pa.Table.from_pylist(rows), about)
    tables = {
        "recordings": recordings, "landings": landings, "frames": frames, "annotations": annotations,
        "predictions": [
            Prediction(
                line=LINE, model_version="1", recording_id=f.recording_id, frame_index=f.frame_index, frame_oid=f.oid,
                predicted_at=now(),
            )
            for f in frames
        ],
        "quarantine": [
            QuarantineItem.of("object", f"{one.name} frame 1", "too small", recording_id=one.recording_id, line=LINE)
            for one in recordings
        ],
        "splits": [
            SplitAssignment(line=LINE, group=f"donor:{donor}", split=split, pinned=False, assigned_at=now())
            for donor, split in ((DONOR, "train"), (OTHER, "test"))
        ],
    }  # fmt: skip
    with before_tables_retired():
        for table, nouns in tables.items():
            for noun in nouns:  # many snapshots
                lake.tables.append(table, [noun])
    _train(lake, version)
    return version


def _train(lake: Lake, version: str) -> None:
    trained = Trained(
        run_key=RUN, line=LINE, dataset_version=version, recipe={"weights": None}, seed=0, code_version="1",
        git_commit=None, libraries={}, hardware={}, setup={}, weights_oid=lake.blobs.put_bytes(b"weights stay"),
        epochs=1, steps=1, resumed_from_epoch=None, history=(EpochMetrics(epoch=1, at_ms=0, metrics={}),), review={},
        files={name: lake.blobs.put_bytes(b"\xff\xd8\xffa mosaic of the frames " + name.encode()) for name in PICTURES},
        seconds=1,
    )  # fmt: skip
    write(lake, trained_key(RUN), trained)
    write(lake, version_key(LINE, "1"), Origin(run_key=RUN))
    sheet = lake.blobs.put_bytes(b"\xff\xd8\xffa mosaic of the frames of a training that waits to be gone on with")
    waiting = Checkpoint(
        oid=lake.blobs.put_bytes(b"a checkpoint"), epoch=1, history=(), setup={},
        files={"training/contact_sheet.jpg": sheet},
    )  # fmt: skip
    write(lake, checkpoint_key("f" * 64), waiting)


def _warm(lake: Lake) -> None:
    """Caches, scratch and logs, as a night leaves them."""
    for recording in lake.tables.rows("recordings", Recording):
        lake.blobs.fetch(recording.recording_id)
    for table in ("annotations", "frames", "splits"):
        lake.tables.scan(table)
    state = lake.settings.state_dir
    for path in (state / "work" / "datasets" / "x" / f"{FILMS[DONOR][0]}_0.png", state / "cache" / "looks" / "a.json"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(DONOR)
    (state / "logs").mkdir(exist_ok=True)
    (state / "logs" / "ingest.log").write_text(f"took in study/{FILMS[DONOR][1]}.mp4 and study/clip_1.mp4\n")


def _everything(lake: Lake) -> dict[str, bytes]:
    """Every object of every bucket, and every file below the state folder; the table files' own bytes, too."""
    found = {
        f"{s.bucket}/{i.key}": s.get_bytes(i.key)
        for s in (lake.landing, lake.store, lake.frames.store)
        for i in s.list()
    }
    state = lake.settings.state_dir
    return found | {str(path.relative_to(state)): path.read_bytes() for path in state.rglob("*") if path.is_file()}


def _kept(lake: Lake) -> dict[str, bytes]:
    """Of that, what is no cache, key, lock or journal of the catalog."""
    own = ("keys/", "cache/", "locks/", "catalog.db")
    return {where: data for where, data in _everything(lake).items() if not where.startswith(own)}


def _left_of_the_donor(lake: Lake, secrets: dict[str, bytes]) -> list[str]:
    every = [(where, where.encode() + b"\n" + data) for where, data in _everything(lake).items()]
    return [f"{what} in {where}" for where, data in every for what, own in secrets.items() if own in data]


def _secrets(lake: Lake) -> dict[str, bytes]:
    mine = {one.recording_id for one in lake.tables.rows("recordings", Recording) if one.donor == DONOR}
    frames = lake.tables.scan("frames", {"recording_id": sorted(mine)}, columns=["oid"]).column("oid").to_pylist()
    found = {"name": DONOR.encode(), "film's name": b"Quillfeather"}
    found |= {f"film {name}": _film(name) for name in FILMS[DONOR]}
    found["mosaics"] = b"a mosaic of the frames"
    return found | {f"frame {oid[:8]}": lake.blobs.get_bytes(oid) for oid in frames}


def _check_the_end(lake: Lake, secrets: dict[str, bytes], version: str) -> None:
    assert _left_of_the_donor(lake, secrets) == []
    rows = lake.tables.rows("recordings", Recording)
    assert sorted(one.name for one in rows) == ["clip_1.mp4", "clip_2.mp4"]
    assert lake.tables.rows("splits", SplitAssignment)[0].group == f"donor:{OTHER}"
    for table in ("frames", "annotations", "predictions"):
        assert lake.tables.scan(table).num_rows == 4, table
    for name in FILMS[OTHER]:
        assert lake.landing.get_bytes(f"study/{name}.mp4") == _film(name)
        assert lake.blobs.get_bytes(hashlib.sha256(_film(name)).hexdigest()) == _film(name)
    assert lake.blobs.get_bytes(rows[0].pts_oid) == b"the same frame times", "shared with the other donor"
    assert len(list(lake.frames.published())) == 4
    assert set(lake.datasets.load(LINE, version).rows.column("recording_name").to_pylist()) == {
        "clip_1.mp4",
        "clip_2.mp4",
    }
    assert lake.blobs.get_bytes(hashlib.sha256(b"weights stay").hexdigest())
    (tombstone,) = lake.tombstones.all()
    assert [(model.line, model.version) for model in tombstone.models] == [(LINE, "1")]
    assert len(tombstone.recordings) == 2
    assert "study/clip_1.mp4" in (lake.settings.state_dir / "logs" / "ingest.log").read_text()


def test_nothing_is_left_and_a_dry_run_changes_nothing(installed: Lake) -> None:
    version = _fill(installed)
    secrets = _secrets(installed)
    before = _kept(installed)
    told = operations.erase_donor(open_session(), DONOR, f"{DONOR} withdrew consent")
    after = _kept(installed)
    assert not told.erased and after == before
    assert told.recordings == ("Quillfeather_1.mp4", "Quillfeather_2.mp4")
    assert told.counts | {
        "recordings": 2, "frames": 4, "landing objects": 4, "label revisions": 4, "predictions": 4, "served frames": 4,
        "quarantine rows": 2, "signatures": 2, "dataset versions": 1, "models": 1,
    } == told.counts  # fmt: skip
    assert told.lines == (LINE,)
    finish_night(installed, LINE, "f" * 64, {"dataset_version": version, "model_version": "1", "verdict": "promote"})
    _warm(installed)
    assert operations.erase_donor(open_session(), DONOR, f"{DONOR} withdrew consent", really=True).erased
    _check_the_end(installed, secrets, version)
    assert finished_night(installed, LINE, "f" * 64) is None, "a night of before the erasure counts no more"
    finish_night(installed, LINE, "f" * 64, {"dataset_version": version, "model_version": "2", "verdict": "hold"})
    assert finished_night(installed, LINE, "f" * 64), "one of after it does"
    assert learned_from_erased(installed, LINE, "1", version) and not learned_from_erased(
        installed, LINE, "2", "0" * 64
    )
    (tombstone,) = installed.tombstones.all()
    assert tombstone.by.startswith("os:") and "withdrew consent" in tombstone.reason
    with pytest.raises(NotFound, match="Otto Other"):
        operations.erase_donor(open_session(), "otto othr", "typing error")
    with pytest.raises(ConfigError, match="reason"):
        operations.erase_donor(open_session(), OTHER, " ")
    assert operations.erase_donor(open_session(), DONOR, "again", really=True).erased, (
        "said again, it finishes what may be left"
    )
    _check_the_end(installed, secrets, version)


def test_models_of_a_lake_without_notes_of_versions_are_listed(installed: Lake) -> None:
    version = _fill(installed)
    installed.store.remove(version_key(LINE, "1"))
    told = operations.erase_donor(open_session(), DONOR, "x")
    assert (told.models, told.lines) == ((), (LINE,)), "by its data alone"
    result = {"run_key": RUN, "model_version": "7", "mlflow_run": "r"}  # before results had more
    installed.store.put_bytes(f"runs/{RUN}/result.json", json.dumps(result).encode())
    told = operations.erase_donor(open_session(), DONOR, "x")
    (model,) = told.models
    assert (model.line, model.version, model.dataset_version) == (LINE, "7", version)


@pytest.mark.parametrize("work", ["train-0123", "export-cells", "materialise-0123", "device-cpu"])
def test_running_work_is_named_and_keeps_its_folders(installed: Lake, work: str) -> None:
    scratch = installed.settings.work_dir / "trainings" / "x"
    scratch.mkdir(parents=True)
    installed.landing.put_bytes("a.mp4", b"film")
    installed.landing.put_bytes(sidecar.key_of("a.mp4"), sidecar.Sidecar(donor=DONOR, name="a.mp4").as_bytes())
    with lake_lock(installed.settings, work), pytest.raises(StorageUnavailable, match=work):
        operations.erase_donor(open_session(), DONOR, "consent withdrawn", really=True)
    assert scratch.is_dir() and installed.landing.head("a.mp4") and installed.tombstones.all() == []
    assert (
        operations.erase_donor(open_session(), DONOR, "consent withdrawn", really=True).erased and not scratch.exists()
    )


def test_nothing_comes_in_between_the_plan_and_the_erasure(installed: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    installed.landing.put_bytes("a.mp4", b"film")
    installed.landing.put_bytes(sidecar.key_of("a.mp4"), sidecar.Sidecar(donor=DONOR, name="a.mp4").as_bytes())
    held, find = [], erasure.scope_of

    def looking(lake: Lake, donor: str):
        with pytest.raises(StorageUnavailable), lake_lock(lake.settings, "ingest", timeout_s=0):
            raise AssertionError
        held.append(donor)
        return find(lake, donor)

    monkeypatch.setattr(erasure, "scope_of", looking)
    assert operations.erase_donor(open_session(), DONOR, "consent withdrawn", really=True).erased and held == [DONOR]


def test_the_command_says_what_would_go_and_asks_for_yes(installed: Lake) -> None:
    _fill(installed)
    asked = ["erase", "--donor", DONOR, "--reason", "consent withdrawn"]
    shown = CliRunner().invoke(app, asked)
    words = " ".join(shown.output.split())
    assert shown.exit_code == 0 and "would be erased" in words and "--yes" in words
    assert "Quillfeather_1.mp4" in words and "model version 1 of line cells" in words
    assert len(installed.tables.rows("recordings", Recording)) == 4 and installed.tombstones.all() == []
    told = json.loads(CliRunner().invoke(app, [*asked, "--yes", "--json"]).stdout)
    assert told["erased"] and told["lines"] == [LINE] and told["models"][0]["version"] == "1"
    assert installed.tombstones.all()[0].key == told["tombstone"]


def test_killed_before_each_step_and_run_again_it_ends_the_same(installed: Lake) -> None:
    version = _fill(installed)
    secrets = _secrets(installed)
    _warm(installed)
    died: list[str] = []

    class Killed(BaseException):
        pass

    def die_at_the_next(step: str) -> None:
        if step not in died:
            died.append(step)
            raise Killed

    while True:
        try:
            operations.erase_donor(open_session(), DONOR, "consent withdrawn", really=True, progress=die_at_the_next)
            break
        except Killed:
            continue
    assert died[0] == "tombstone" and {"tables", "recordings", "seals", "caches"} <= set(died)
    _check_the_end(installed, secrets, version)


def test_killed_at_any_write_and_run_again_it_ends_the_same(installed: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    version = _fill(installed)
    secrets = _secrets(installed)
    _warm(installed)

    class Killed(BaseException):
        pass

    left = [0]

    def mortal(method):
        def call(*arguments, **rest):
            if left[0] == 0:
                raise Killed
            left[0] -= 1
            return method(*arguments, **rest)

        return call

    with monkeypatch.context() as patch:
        for name in ("put_bytes", "remove"):
            patch.setattr(ObjectStore, name, mortal(getattr(ObjectStore, name)))
        for writes in range(2, 1000, 9):  # each time it gets a little further, and dies elsewhere
            left[0] = writes
            try:
                operations.erase_donor(open_session(), DONOR, "consent withdrawn", really=True)
                break
            except Killed:
                continue
    assert writes > 20  # it really died, and more than once
    _check_the_end(installed, secrets, version)


def test_what_was_erased_is_refused_until_the_donor_is_admitted_again(installed: Lake, tmp_path: Path) -> None:
    _fill(installed)
    operations.erase_donor(open_session(), DONOR, "consent withdrawn", really=True)
    film = tmp_path / "renamed.mp4"
    film.write_bytes(_film(FILMS[DONOR][0]))
    (refused,) = operations.add_recordings(open_session(), [film], donor="Somebody Else").refused
    assert "was erased on" in refused.reason and "consent withdrawn" in refused.reason
    installed.landing.put_bytes("study/renamed.mp4", film.read_bytes())  # past our door
    (item,) = ingest_new(installed, ()).quarantined
    assert "was erased on" in item.reason and not installed.blobs.exists(hashlib.sha256(film.read_bytes()).hexdigest())
    assert len(installed.tables.rows("recordings", Recording)) == 2
    with pytest.raises(ConfigError, match="no donor"):
        operations.add_recordings(open_session(), [film], donor=OTHER, readmit=True)
    assert operations.add_recordings(open_session(), [film], donor=DONOR, readmit=True).accepted


def test_a_forged_tombstone_erases_excuses_and_replaces_nothing(installed: Lake) -> None:
    oid, copy = installed.blobs.put_bytes(b"evidence"), installed.blobs.put_bytes(b"forged")
    forged = Tombstone(
        donor="a" * 64, reason="x", by="os:0", at=now(), recordings=(hidden(oid),), removed=(hidden(oid),),
        replaced={hidden(oid): copy}, datasets={}, models=(),
    )  # fmt: skip
    value = {"kind": "tombstone", "line": "", "name": forged.key, "number": 0, "value": forged.model_dump(mode="json")}
    signature = {"key": "ed25519:" + "0" * 32, "at": now().isoformat(), "value": "AAAA"}
    installed.store.put_bytes(forged.key, json.dumps({**value, "signature": signature}).encode())
    installed.store.put_bytes(tombstone_key("b" * 64), b'{"donor": 7}')
    installed.store.remove(installed.blobs.key(oid))
    assert installed.tombstones.all() == [] and installed.tombstones.refusing() == {}
    assert {one.key for one in installed.tombstones.doubtful()} == {forged.key, tombstone_key("b" * 64)}
    with pytest.raises(NotFound):
        installed.blobs.get_bytes(oid)


def test_no_clear_name_leaves_this_machine(installed: Lake, tmp_path: Path) -> None:
    folder = tmp_path / "Mara Quillfeather left"
    folder.mkdir()
    for number in (9, 10):
        (folder / f"Quillfeather_{number}.png").write_bytes(b"\x89PNG" + bytes([number]))
    film = tmp_path / "Quillfeather_1.mp4"
    film.write_bytes(b"film")
    report = operations.add_recordings(open_session(), [film, folder], donor=DONOR, pseudonyms=True)
    assert len(report.accepted) == 2
    objects = {info.key: installed.landing.get_bytes(info.key) for info in installed.landing.list()}
    assert not [key for key, data in objects.items() if b"uillfeather" in data or "uillfeather" in key]
    settings = installed.settings
    said = {sidecar.parse(data).donor for key, data in objects.items() if key.endswith(sidecar.SUFFIX)}
    assert said == {pseudonym(settings, "donor", DONOR)}, "the same donor, the same pseudonym"
    (known,) = operations.resolve_names(open_session(), [said.pop() or ""])
    assert known.clear == DONOR
    assert [row.clear for row in operations.resolve_names(open_session(), [])].count("Quillfeather_1") == 1
    for name in ("pseudonym-key", "pseudonyms.json"):
        assert (settings.state_dir / "keys" / name).stat().st_mode & 0o777 == 0o600
    with pytest.raises(ConfigError, match="pseudonym"):
        operations.add_recordings(open_session(), [film], donor=DONOR)
    told = operations.erase_donor(open_session(), DONOR, f"{DONOR} withdrew", really=True)
    assert "Mara" not in installed.tombstones.all()[0].reason
    assert told.counts["landing objects"] == 4, "found by the clear name, before any night"
    assert list(open_lake(settings).landing.list()) == [] and operations.resolve_names(open_session(), []) == []


def test_a_donors_stills_leave_the_batch_that_they_share(installed: Lake, tmp_path: Path) -> None:
    for donor, numbers in ((DONOR, (1, 2)), (OTHER, (3, 4))):
        for number in numbers:
            picture(tmp_path / "set" / donor / f"{donor.split()[1]}_{number}.png", number)
    mine = [path.read_bytes() for path in (tmp_path / "set" / DONOR).iterdir()]
    others = {path.name: path.read_bytes() for path in (tmp_path / "set" / OTHER).iterdir()}
    assert operations.add_stills(open_session(), [str(tmp_path / "set")], group_by="folder").batches == 1
    line = a_line(LINE)
    ingest_new(installed, [line])
    picture(tmp_path / "later" / DONOR / "5.png", 5)
    mine.append((tmp_path / "later" / DONOR / "5.png").read_bytes())
    operations.add_stills(open_session(), [str(tmp_path / "later")], group_by="folder")  # waits: no night has seen it
    secrets = {"name": DONOR.encode(), "file": b"Quillfeather"} | {f"picture {n}": own for n, own in enumerate(mine)}
    assert len(_left_of_the_donor(installed, secrets)) > len(secrets)

    assert operations.erase_donor(open_session(), DONOR, "withdrew consent", really=True).erased

    assert _left_of_the_donor(installed, secrets) == []
    (batch,) = [info.key for info in installed.landing.list() if info.key.endswith(".zip")]
    with zipfile.ZipFile(BytesIO(installed.landing.get_bytes(batch))) as left:
        assert {name.rpartition("/")[2]: left.read(name) for name in left.namelist()} == others
    found = ingest_new(installed, [line])
    assert (found.new, found.duplicates, found.quarantined) == ((), (), ())
    assert sorted(one.name for one in installed.tables.rows("recordings", Recording)) == sorted(others)
    again = operations.add_stills(open_session(), [str(tmp_path / "set")], group_by="folder")
    assert (again.new, len(again.accepted), len(again.refused)) == (0, 2, 2)
    assert all("was erased" in entry.reason for entry in again.refused)
