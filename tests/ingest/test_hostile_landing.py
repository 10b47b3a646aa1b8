"""Whatever lies in the landing bucket, by whatever key, with whatever beside it: it costs itself, never the night."""

from __future__ import annotations

import os
from io import BytesIO
from pathlib import Path

import pytest

from tasks.config import Settings
from tasks.errors import StorageUnavailable, UnreadableRecording
from tasks.escaping import visible_name
from tasks.ingest import sidecar
from tasks.ingest.arrivals import bring
from tasks.ingest.recordings import ingest_new
from tasks.lake import Lake, ObjectInfo, open_lake
from tasks.lake.object_store import ObjectStore
from tasks.schemas import Landing, Recording
from tests.ingest.clips import write_clip
from tests.s3_servers import moto


@pytest.fixture
def clip(tmp_path: Path) -> bytes:
    return write_clip(tmp_path / "clip.mp4", 10).read_bytes()


KEYS = ["new\nline.mp4", "esc\x1b[31mred.mp4", "nul\x01.mp4", "del\x7f.mp4", "turned\u202egpj.mp4", "line\u2028.mp4",
        "no\ufffecharacter.mp4", "a+b%20c&<x>.mp4", "deep/" * 60 + "a.mp4", "x" * 230 + ".mp4"]  # fmt: skip


def test_keys_of_any_characters_come_in_by_safe_names(lake: Lake, clip: bytes) -> None:
    for number, key in enumerate(KEYS):
        lake.landing.put_bytes(key, clip + bytes(8 + number))
    report = ingest_new(lake, [])
    assert len(report.new) == len(KEYS) and report.quarantined == ()
    for recording in lake.tables.rows("recordings", Recording):
        assert visible_name(recording.name) == recording.name and len(recording.name.encode()) <= 200
    assert ingest_new(lake, []).new == ()


def test_names_that_the_server_cannot_handle_cost_themselves(lake: Lake, clip: bytes, s3_server: object) -> None:
    """Put past S3, onto the server's own disk: no UTF-8, and too long for a sidecar to lie beside."""
    folder = os.fsencode(Path(s3_server.folder) / lake.landing.bucket)  # type: ignore[attr-defined]
    for number, name in enumerate([b"\xff\xfe.mp4", b"y" * 250 + b".mp4", b"back\\slash.mp4", b"esc\x1b[2J.mp4"]):
        Path(os.fsdecode(folder + b"/" + name)).write_bytes(clip + bytes(100 + number))
    lake.landing.put_bytes("good.mp4", clip)
    report = ingest_new(lake, [])
    names = {recording.name for recording in lake.tables.rows("recordings", Recording)}
    assert "good.mp4" in names
    assert len(report.new) + len(report.quarantined) == 5
    assert all(visible_name(item.reason) == item.reason for item in report.quarantined)
    again = ingest_new(lake, [])
    assert (again.new, again.quarantined) == ((), ()), "each is dealt with once"


def test_keys_that_break_xml_or_paths_are_named(tmp_path: Path, clip: bytes) -> None:
    """This server lists them, and answers what is no XML when asked for something that is not there."""
    with moto(tmp_path / "moto") as server:
        s3 = server.settings.model_copy(update={"landing_bucket": "landing", "lake_bucket": "lake"})
        lake = open_lake(Settings(state_dir=tmp_path / "state", s3=s3))
        lake.landing.ensure_bucket()
        lake.store.ensure_bucket()
        lake.landing.put_bytes("good.mp4", clip)
        lake.landing.put_bytes("esc\x1b[31m.mp4", clip + bytes(9))
        for number, key in enumerate(["a//b.mp4", "/lead.mp4"]):
            lake.landing._client.put_object("landing", key, BytesIO(clip + bytes(20 + number)), -1,
                                            part_size=2**24)  # fmt: skip
        report = ingest_new(lake, [])
        assert len(report.new) == 2
        reasons = {item.subject: item.reason for item in report.quarantined}
        assert sorted(reasons) == ["/lead.mp4", "a//b.mp4"]
        assert all("its key cannot be used" in reason and "plain name" in reason for reason in reasons.values())
        assert len(lake.tables.rows("landings", Landing)) == 4
        assert lake.landing.head("esc\x1b.mp4") is None


class _Failing(ObjectStore):
    """A server that fails for one key, or for all."""

    only: str | None = None
    knows: bool = False  # the server finds it, and cannot send it

    def get_file(self, key: str, path: Path) -> None:
        if self.only in (None, key):
            raise StorageUnavailable(f"{key}: the S3 server did not answer properly")
        super().get_file(key, path)

    def head(self, key: str) -> ObjectInfo | None:
        if self.only is None or (self.only == key and not self.knows):
            raise StorageUnavailable("down")
        return super().head(key)


def test_one_object_that_fails_is_told_from_a_server_that_fails(lake: Lake, clip: bytes, tmp_path: Path) -> None:
    for name in ("a.mp4", "b.mp4"):
        lake.landing.put_bytes(name, clip + name.encode())
    infos = {info.key: info for info in lake.landing.list()}
    lake.landing.__class__ = _Failing
    lake.landing.only = "a.mp4"  # type: ignore[attr-defined]
    bad, good = bring(lake, infos["a.mp4"], tmp_path), bring(lake, infos["b.mp4"], tmp_path)
    assert bad is not None and "cannot deliver it" in str(bad.fault)
    assert good is not None and good.fault is None
    lake.landing.only = None  # type: ignore[attr-defined]
    with pytest.raises(StorageUnavailable):
        bring(lake, infos["a.mp4"], tmp_path)


def test_a_good_recording_whose_transfer_breaks_off_waits_for_the_next_night(lake: Lake, clip: bytes) -> None:
    for name in ("a.mp4", "b.mp4"):
        lake.landing.put_bytes(name, clip + name.encode())
    plain, lake.landing.__class__ = lake.landing.__class__, _Failing
    lake.landing.only, lake.landing.knows = "a.mp4", True  # type: ignore[attr-defined]
    first = ingest_new(lake, ())
    assert [key for key, _ in first.delayed] == ["a.mp4"] and "broke off" in first.delayed[0][1]
    assert len(first.new) == 1 and first.quarantined == ()
    lake.landing.__class__ = plain
    assert len(ingest_new(lake, ()).new) == 1


def test_an_object_that_has_gone_is_the_next_nights(lake: Lake, clip: bytes, tmp_path: Path) -> None:
    lake.landing.put_bytes("a.mp4", clip)
    (info,) = lake.landing.list()
    lake.landing.remove("a.mp4")
    assert bring(lake, info, tmp_path) is None


def test_files_beyond_any_size_are_not_fetched(lake: Lake, clip: bytes, tmp_path: Path) -> None:
    lake.landing.put_bytes("a.mp4", clip)
    lake.settings.ingest = lake.settings.ingest.model_copy(update={"file_gb": 1e-6})
    (info,) = lake.landing.list()
    arrival = bring(lake, info, tmp_path)
    assert arrival is not None and "NIGHTSCOPE_INGEST__FILE_GB" in str(arrival.fault) and arrival.path is None


GOOD = '{"donor": "D7", "um_per_px": 0.5}'


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le-bom"])
def test_byte_order_marks_are_no_content(encoding: str) -> None:
    data = b"\xff\xfe" + GOOD.encode("utf-16-le") if encoding == "utf-16-le-bom" else GOOD.encode(encoding)
    assert sidecar.parse(data).donor == "D7"


HOSTILE = {
    "deep": b'{"donor": ' + b"[" * 30_000 + b"]" * 30_000 + b"}",
    "huge number": b'{"um_per_px": 1e400}',
    "no number": b'{"um_per_px": NaN}',
    "infinite": b'{"fps_hz": -Infinity}',
    "tiny": b'{"fps_hz": 1e-320}',
    "thousand digits": b'{"um_per_px": ' + b"9" * 5_000 + b"}",
    "surrogate": b'{"donor": "\\ud800"}',
    "control": b'{"donor": "D\\u001b[31m"}',
    "no utf-8": b'{"donor": "\xff"}',
    "half utf-16": b"\xff\xfe{",
    "many keys": b"{" + b",".join(b'"\\u001bkey%d": 1' % number for number in range(3_000)) + b"}",
    "list": b"[1, 2]",
    "nothing": b"",
    "binary": bytes(range(256)),
}


@pytest.mark.parametrize("kind", sorted(HOSTILE))
def test_hostile_sidecars_are_a_short_plain_reason(kind: str) -> None:
    with pytest.raises(UnreadableRecording) as refused:
        sidecar.parse(HOSTILE[kind])
    said = str(refused.value)
    assert sidecar.SUFFIX in said and len(said) < 3_000 and visible_name(said) == said


def test_a_huge_sidecar_is_not_read(lake: Lake, clip: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    lake.landing.put_bytes(sidecar.key_of("a.mp4"), b" " * 2**20)
    lake.landing.put_bytes("a.mp4", clip)
    lake.landing.put_bytes(sidecar.key_of("b.mp4"), HOSTILE["deep"])
    lake.landing.put_bytes("b.mp4", clip + b"b")
    lake.landing.put_bytes("c.mp4", clip + b"cc")
    asked: list[str] = []
    original = ObjectStore.get_bytes
    monkeypatch.setattr(ObjectStore, "get_bytes", lambda self, key: asked.append(key) or original(self, key))
    report = ingest_new(lake, [])
    assert len(report.new) == 1
    reasons = {item.subject: item.reason for item in report.quarantined}
    assert "1048576 bytes" in reasons["a.mp4"] and "sidecar" in reasons["b.mp4"]
    assert sidecar.key_of("a.mp4") not in asked
