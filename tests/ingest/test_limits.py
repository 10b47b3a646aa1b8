"""What asks too much of the machine goes to quarantine within seconds, with the reason, and the next one is read."""

from __future__ import annotations

import bz2
import os
import re
import struct
import time
import zipfile
import zlib
from pathlib import Path

import numpy as np
import psutil
import pytest
import tifffile

from tasks.config import IngestLimits, Settings
from tasks.ingest.formats import Format
from tasks.ingest.landing import add
from tasks.ingest.reading import Job
from tasks.ingest.recordings import ingest_new
from tasks.ingest.sampling import Rate
from tasks.ingest.workers import Workers
from tasks.lake import Lake
from tests.ingest.clips import numbered, write_clip

pytestmark = pytest.mark.integration  # decodes at length

SECONDS = 15.0


def tiff(path: Path, width: int, height: int, pages: int, *, strip: bytes, bits: int = 8) -> None:
    """A TIFF of pages that all show the same strip."""
    data, previous = bytearray(b"II*\0\0\0\0\0" + strip), 4
    for _ in range(pages):
        data += bytes(len(data) % 2)
        struct.pack_into("<I", data, previous, len(data))
        tags = [(256, width), (257, height), (258, bits), (259, 8), (262, 1), (273, 8), (277, 1), (278, height),
                (279, len(strip))]  # fmt: skip
        data += struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
        previous = len(data)
        data += bytes(4)
    path.write_bytes(data)


def png(width: int, height: int, rows: int) -> bytes:
    """A PNG that claims a size, with some empty rows of it."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    body = zlib.compress(bytes((width + 1) * rows), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def jpeg(width: int, height: int) -> bytes:
    import cv2

    data = bytearray(cv2.imencode(".jpg", numbered(1))[1].tobytes())
    at = data.index(b"\xff\xc0") + 5
    data[at : at + 4] = struct.pack(">HH", height, width)
    return bytes(data)


def packed(path: Path, **entries: bytes) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in entries.items():
            archive.writestr(name.replace("_", "."), data)


def one_huge_page(path: Path) -> None:
    tiff(path, 40_000, 60_000, 1, strip=zlib.compress(bytes(2**20), 9))


def many_pages_of_one_strip(path: Path) -> None:
    tiff(path, 8_000, 8_000, 200, strip=b"\x78\xda" + zeros(62))


def zeros(mebibytes: int) -> bytes:
    """Deflated, without the work: blocks of their own can be repeated."""
    squeezer = zlib.compressobj(9, zlib.DEFLATED, -15)
    block = squeezer.compress(bytes(2**20)) + squeezer.flush(zlib.Z_FULL_FLUSH)
    return block * mebibytes + squeezer.flush()


def a_strip_that_inflates(path: Path) -> None:
    """The page claims 100 pixels; its strip holds 8 GiB."""
    tiff(path, 10, 10, 1, strip=b"\x78\xda" + zeros(8 * 2**10))


def huge_png(path: Path) -> None:
    packed(path, a_png=png(30_000, 30_000, 10))


def a_page_that_inflates(path: Path) -> None:
    """It claims a hundred million pixels, which is allowed; its strip holds 8 GiB."""
    tiff(path, 10_000, 10_000, 1, strip=b"\x78\xda" + zeros(8 * 2**10))


def many_large_png(path: Path) -> None:
    packed(path, **{f"{number}_png": png(9_000, 9_000, 9_000) for number in range(9)})


def huge_jpeg(path: Path) -> None:
    packed(path, a_jpg=jpeg(65_000, 65_000))


def huge_bmp(path: Path) -> None:
    packed(path, a_bmp=b"BM" + bytes(12) + struct.pack("<IiiHHI", 40, 60_000, -60_000, 1, 24, 0) + bytes(40))


def huge_tiff_in_a_folder(path: Path) -> None:
    one_huge_page(path)
    packed(path, a_tif=path.read_bytes())


def entry(path: Path, squeezed: bytes, claims: int, method: int = zipfile.ZIP_DEFLATED) -> None:
    """A ZIP of one entry a.png, by hand: it claims a size (zip64) and a method."""
    extra = struct.pack("<HHQ", 1, 8, claims)
    about = struct.pack("<HHHHHIIIHH", 45, 0, method, 0, 33, 0, len(squeezed), 0xFFFFFFFF, 5, len(extra))
    local = b"PK\x03\x04" + about + b"a.png" + extra + squeezed
    central = b"PK\x01\x02" + b"\x2d\x03" + about + struct.pack("<HHHII", 0, 0, 0, 0, 0) + b"a.png" + extra
    end = struct.pack("<HHHHIIH", 0, 0, 1, 1, len(central), len(local), 0)
    path.write_bytes(local + central + b"PK\x05\x06" + end)


def an_honest_endless_entry(path: Path) -> None:
    entry(path, zeros(2**13), 2**33)


def a_lying_entry(path: Path) -> None:
    """Claims 100 bytes, and inflates to 8 GiB."""
    entry(path, zeros(2**13), 100)


def a_boasting_entry(path: Path) -> None:
    """Claims a tebibyte, and is empty."""
    entry(path, zeros(0), 2**40)


def overlapping_entries(path: Path) -> None:
    """Many directory entries, all of the same bytes."""
    packed(path, a_png=png(3_000, 3_000, 3_000))
    data = path.read_bytes()
    start, end = data.index(b"PK\x01\x02"), data.index(b"PK\x05\x06")
    tail = bytearray(data[end:])
    struct.pack_into("<HHI", tail, 8, 900, 900, (end - start) * 900)
    path.write_bytes(data[:start] + data[start:end] * 900 + bytes(tail))


def bzip_entry(path: Path) -> None:
    entry(path, bz2.compress(bytes(2**20)) * 500, 100, zipfile.ZIP_BZIP2)


def too_many_entries(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(1_500):
            archive.writestr(f"deep/{'er/' * 50}{number}.png", b"")


BOMBS = {
    one_huge_page: (".tif", "too large"),
    many_pages_of_one_strip: (".tif", "decompression bomb"),
    a_strip_that_inflates: (".tif", "none of its 1 frames"),
    a_page_that_inflates: (".tif", "none of its 1 frames"),
    huge_png: (".frames.zip", "too large"),
    many_large_png: (".frames.zip", "decompression bomb"),
    huge_jpeg: (".frames.zip", "too large"),
    huge_bmp: (".frames.zip", "too large"),
    huge_tiff_in_a_folder: (".frames.zip", "too large"),
    an_honest_endless_entry: (".frames.zip", "decompression bomb"),
    a_lying_entry: (".frames.zip", "none of its 1 frames"),
    a_boasting_entry: (".frames.zip", "decompression bomb"),
    overlapping_entries: (".frames.zip", "overlaps another"),
    bzip_entry: (".frames.zip", "compressed by method 12"),
    too_many_entries: (".frames.zip", "at most 1000"),
}


def job(path: Path, folder: Path, kind: Format) -> Job:
    folder.mkdir(exist_ok=True)
    return Job(str(path), kind, str(folder), rates={"line": Rate(0.5, 60, 2)})


@pytest.mark.parametrize("make", list(BOMBS), ids=lambda make: str(make.__name__))
def test_a_bomb_is_refused_in_seconds_and_the_worker_goes_on(tmp_path: Path, make: object) -> None:
    suffix, says = BOMBS[make]  # type: ignore[index]
    bomb = tmp_path / f"bomb{suffix}"
    make(bomb)  # type: ignore[operator]
    kind = Format.TIFF if suffix == ".tif" else Format.IMAGES
    good = tmp_path / "good.tif"
    tifffile.imwrite(good, np.stack([numbered(number) for number in range(5)]), photometric="minisblack")
    with Workers(IngestLimits(memory_mb=1024, pictures=1000)) as workers:
        assert workers.read(job(good, tmp_path / "0", Format.TIFF)).reason is None
        begin = time.monotonic()
        outcome = workers.read(job(bomb, tmp_path / "1", kind))
        took = time.monotonic() - begin
        assert workers.read(job(good, tmp_path / "2", Format.TIFF)).reason is None
    assert outcome.reason is not None and re.search(says, outcome.reason), outcome.reason
    assert took < SECONDS


def test_honest_recordings_of_the_same_size_are_read(tmp_path: Path) -> None:
    """Empty pages compress just as well: the budget only begins where it matters."""
    path = tmp_path / "dark.tif"
    tifffile.imwrite(path, np.zeros((40, 700, 700), np.uint16), photometric="minisblack", compression="zlib")
    with Workers() as workers:
        outcome = workers.read(job(path, tmp_path / "1", Format.TIFF))
    assert outcome.reason is None and outcome.media is not None and outcome.media.frames_decoded == 40


def slow_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str, first: str = "") -> None:
    """A `sitecustomize` in the worker that misbehaves when it opens a certain file."""
    site = tmp_path / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(
        f"import pathlib, time\n{first}\n"
        "opened = pathlib.Path.open\n"
        "def misbehaving(self, *a, **k):\n"
        f"    if self.name.startswith('slow'): {what}\n"
        "    return opened(self, *a, **k)\n"
        "pathlib.Path.open = misbehaving\n"
    )
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")]))


def test_who_takes_too_long_is_ended_once_and_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slow_worker(tmp_path, monkeypatch, "time.sleep(60)")
    good, slow = write_clip(tmp_path / "a.mp4", 10), write_clip(tmp_path / "slow.mp4", 10)
    with Workers(IngestLimits(deadline_s=10)) as workers:
        assert workers.read(job(good, tmp_path / "0", Format.MP4)).reason is None
        first, begin = workers._started[0].pid, time.monotonic()
        outcome = workers.read(job(slow, tmp_path / "1", Format.MP4))
        assert 8 < time.monotonic() - begin < 45 and not psutil.pid_exists(first)
        assert workers.read(job(good, tmp_path / "2", Format.MP4)).reason is None
    assert "longer than 10 s" in str(outcome.reason) and "NIGHTSCOPE_INGEST__DEADLINE_S" in str(outcome.reason)
    assert outcome.crashed, "another day, or another limit, may read it"


def test_who_grows_too_large_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Watched from outside, for systems (and allocations) that the limit within does not reach."""
    take = "more = [bytearray(b'x') * 2**28 for _ in range(4)]; time.sleep(60)"
    unlimited = "import resource; resource.setrlimit = lambda *a: None"
    slow_worker(tmp_path, monkeypatch, take, unlimited)
    slow = write_clip(tmp_path / "slow.mp4", 10)
    with Workers(IngestLimits(memory_mb=512)) as workers:
        begin = time.monotonic()
        outcome = workers.read(job(slow, tmp_path / "1", Format.MP4))
    assert "512 MB of memory" in str(outcome.reason) and time.monotonic() - begin < SECONDS


def test_large_stacks_that_are_mapped_need_no_memory(tmp_path: Path) -> None:
    """Files mapped for reading do not count: ImageJ's stacks are often larger than any memory."""
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.zeros((400, 1000, 1000), np.uint8), imagej=True, metadata={"axes": "TYX"})
    with Workers(IngestLimits(memory_mb=256)) as workers:
        outcome = workers.read(job(path, tmp_path / "1", Format.TIFF))
    assert outcome.reason is None


def test_a_night_with_a_bomb_takes_the_rest_in(lake: Lake, settings: Settings, tmp_path: Path) -> None:
    one_huge_page(tmp_path / "bomb.tif")
    an_honest_endless_entry(tmp_path / "bomb.frames.zip")
    write_clip(tmp_path / "good.mp4", 20)
    add(lake, [tmp_path])
    report = ingest_new(lake, [])
    assert len(report.new) == 1 and len(report.quarantined) == 2
    reasons = " ".join(item.reason for item in report.quarantined)
    assert "NIGHTSCOPE_INGEST__PICTURE_MPX" in reasons and "NIGHTSCOPE_INGEST__EXPANSION" in reasons


def test_limits_are_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("NIGHTSCOPE_INGEST__PICTURE_MPX", "7")
    monkeypatch.setenv("NIGHTSCOPE_INGEST__DEADLINE_S", "9")
    limits = Settings(state_dir=tmp_path).ingest
    assert (limits.picture_mpx, limits.deadline_of(2_000_000)) == (7, 19)
