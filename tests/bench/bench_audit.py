"""How long the leak audit takes: `python -m tests.bench.bench_audit [--frames 100000]`. One core, one run.

100,000 frames of 1,700 recordings, 20 of which are copies of others in another split, made in each of the ways that
people make copies. The rest are made up at the level of what an audit reads: perceptual hashes and signatures that
cluster as real ones do (frames of a recording around it, recordings around their microscope; heads that look alike;
dirt in one place). Every hundredth recording stands still, so that its frames are compared by hash and picture.

In the same run: comparing all pairs of the frames' perceptual hashes, as the audit did before (it finds no trimmed and
no cropped clip), and all pairs of the recordings' moments, extrapolated from one in 500. And 20,000 stills of donors of
their own, one in ten in test, which only frames tell apart: their hashes lie around those of the 12 microscopes.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", MKL_NUM_THREADS="1")

import cv2
import numpy as np
import numpy.typing as npt
import pyarrow as pa
from rich.console import Console
from rich.table import Table

from tasks.config import Settings
from tasks.ingest.viewing import Viewer
from tasks.lake import Lake, open_lake
from tasks.leakage import Audit, audit, clip_matching, crop_matching, frame_matching
from tasks.leakage.features import Features
from tasks.leakage.signatures import Signature, key_of, sign, signatures
from tasks.schemas import digest
from tasks.synthetic import make_recordings
from tests.leakage.recorded import COPIES, dataset, pictures_of, write
from tests.s3_servers import rclone

RECORDINGS, MICROSCOPES, DENSE, FEATURES = 1700, 12, 225, 900
STILLS = 20_000
Hashes = npt.NDArray[np.uint64]


def wandering(rng: np.random.Generator, count: int) -> Hashes:
    """128 bits of what moves in each of so many frames: neighbours in time correlate at 0.75."""
    state, vectors = rng.standard_normal(128), []
    for _ in range(count):
        state = 0.75 * state + np.sqrt(1 - 0.75**2) * rng.standard_normal(128)
        vectors.append(state > 0)
    return np.packbits(np.array(vectors), axis=1).view(np.uint64).reshape(-1, 2)


def flipped(rng: np.random.Generator, bits: npt.NDArray[np.uint8], share: float) -> npt.NDArray[np.uint8]:
    """Packed bits of which a share is turned over."""
    return bits ^ np.packbits(rng.random((*bits.shape[:-1], bits.shape[-1] * 8)) < share, axis=-1)


class World:
    """Made-up recordings: a microscope's dirt is in all of its recordings, heads are of a few hundred kinds."""

    def __init__(self) -> None:
        self._rng = np.random.default_rng(0)
        self._dirt = self._rng.integers(0, 256, (MICROSCOPES, 60, 32), np.uint8)
        self._dirt_at = self._rng.uniform(0, 1, (MICROSCOPES, 60, 2)) * (640, 480)
        self._heads = self._rng.integers(0, 256, (400, 32), np.uint8)
        self._centre = self._rng.integers(0, 256, (MICROSCOPES, 8), np.uint8)

    def signature(self, number: int) -> Signature:
        """What a recording's signature might be."""
        rng, scope = self._rng, number % MICROSCOPES
        own = flipped(rng, self._heads[rng.integers(0, len(self._heads), FEATURES - 180)], 0.12)
        dirt = np.concatenate([flipped(rng, self._dirt[scope], 0.05) for _ in range(3)])
        places = [rng.uniform(0, 1, (len(own), 2)) * (640, 480), np.tile(self._dirt_at[scope], (3, 1))]
        still = np.concatenate([np.arange(len(own)) % 3, np.repeat(np.arange(3), 60)]).astype(np.uint8)
        features = Features(
            (640, 480), still, np.concatenate(places).astype(np.float32), np.concatenate([own, dirt])
        )  # fmt: skip
        motion = 2.0 if number % 100 == 99 else 30.0
        return Signature(np.arange(DENSE, dtype=np.int32), wandering(rng, DENSE), motion, features)

    def phashes(self, number: int, count: int) -> list[str]:
        """Perceptual hashes around the recording's, which is around its microscope's."""
        own = flipped(self._rng, self._centre[number % MICROSCOPES], 0.2)
        return [bytes(row).hex() for row in flipped(self._rng, np.tile(own, (count, 1)), 0.1)]

    def phash_of_still(self, number: int) -> str:
        """A perceptual hash so close to its microscope's that a third of all stills of it are suspects."""
        return bytes(flipped(self._rng, self._centre[number % MICROSCOPES], 0.11)).hex()


def planted(lake: Lake, folder: Path) -> tuple[pa.Table, set[frozenset[str]]]:
    """Real clips in train, their copies in test: rows, and which pairs must be found."""
    clips = [
        one.path for one in make_recordings(folder, count=2, seed=3, frames=75, width_px=384, height_px=288, workers=1)
    ]
    placed: list[Any] = [(path, "train", path.stem) for path in clips]
    leaks = set()
    for number, clip in enumerate(clips):
        for copy in COPIES[: 10 if number else len(COPIES)]:
            name = f"copy-{number}-{copy.what.replace(' ', '-').replace('%', 'percent')}.mp4"
            path = write(folder / name, copy.make(pictures_of(clip)), copy.crf, copy.fps_hz)
            placed.append((path, "test", path.stem))
            leaks.add(frozenset((clip.name, name)))
    return dataset(lake, placed, every=3), leaks


def made_up(lake: Lake, count: int, of_each: int) -> pa.Table:
    """Rows of made-up recordings, their signatures in the lake and its cache; stills have their pictures too."""
    world, columns = World(), {name: [] for name in ("split", "group", "recording_id", "recording_name")}  # type: ignore[var-annotated]
    rest: dict[str, list[Any]] = {"frame_index": [], "frame_oid": [], "phash": []}
    for number in range(count):
        recording = digest("made up", number)
        path = lake.settings.cache_dir / key_of(recording)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(world.signature(number).encode())
        split = ("train", "train", "train", "train", "val", "test")[number % 6]
        columns["split"] += [split] * of_each
        columns["group"] += [f"donor:{number}"] * of_each
        columns["recording_id"] += [recording] * of_each
        columns["recording_name"] += [f"{number:04d}.mp4"] * of_each
        rest["frame_index"] += range(of_each)
        rest["phash"] += world.phashes(number, of_each)
        rest["frame_oid"] += [digest(number, index) for index in range(of_each)]
    return pa.table(columns | rest)


def with_pictures(lake: Lake, rows: pa.Table, real: int) -> pa.Table:
    """Pictures for the frames that will be suspects and decoded, but for the first rows, which are `real`.

    Of recordings that are suspects by what moves or by parts, and cannot be looked at, all frames are compared.
    """
    every, rng = rows.to_pylist(), np.random.default_rng(1)
    splits = {row["recording_id"]: row["split"] for row in every}
    with Viewer(lake) as viewer:
        signed, _ = signatures(lake, sorted(splits), viewer)
    pairs = [*clip_matching.suspects(signed, splits), *crop_matching.suspects(signed, splits)]
    asked = [*frame_matching.suspects(every, signed).values(), *(frame_matching.all_of(every, pair) for pair in pairs)]
    for number in sorted({int(each) for pair in asked for own in pair for each in own if each >= real}):
        shape = cv2.resize(rng.integers(0, 255, (12, 16), np.uint8), (320, 240), interpolation=cv2.INTER_CUBIC)
        every[number]["frame_oid"] = lake.blobs.put_bytes(bytes(cv2.imencode(".jpg", shape)[1]))
    return pa.Table.from_pylist(every, rows.schema)


def stills(lake: Lake, count: int) -> pa.Table:
    """Rows of made-up stills, each a recording; the last is a copy of the first. What they show is in the cache."""
    world, rng = World(), np.random.default_rng(5)
    scopes = rng.standard_normal((MICROSCOPES, 64 * 64))
    rows = []
    for number in range(count):
        shows = scopes[number % MICROSCOPES] + rng.standard_normal(64 * 64)  # two of one microscope correlate at 0.5
        hashed = world.phash_of_still(number)
        if number == 0:
            first = shows, hashed
        elif number == count - 1:
            shows, hashed = first
        oid = digest("still", number)
        path = lake.settings.cache_dir / "descriptors" / oid[:2] / f"{oid}.npy"
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, (shows / np.linalg.norm(shows)).astype(np.float16))
        split = "test" if number % 10 == 9 else "train"
        rows.append({"split": split, "group": f"donor:still {number}", "recording_id": oid, "frame_oid": oid,
                     "recording_name": f"{number:05d}.png", "frame_index": 0, "phash": hashed})  # fmt: skip
    return pa.Table.from_pylist(rows)


def print_stills(lake: Lake) -> None:
    """What an audit of stills costs, signatures aside: they have none."""
    rows = stills(lake, STILLS)
    spent, found = timed(lambda: audit(lake, rows))
    right = [finding.pair for finding in found.findings] == [
        tuple(sorted((rows.column("recording_id")[0].as_py(), rows.column("recording_id")[STILLS - 1].as_py())))
    ]
    print(
        f"{STILLS:,} stills: {spent:.1f} CPU s, {found.suspects:,} suspected pairs, "
        f"{'the one copy found and nothing else' if right else f'WRONG: {len(found.findings)} found'}"
    )


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """CPU seconds of this process and its children, and what came of it."""
    before = sum(os.times()[:4])
    done = work()
    return sum(os.times()[:4]) - before, done


def all_pairs(rows: pa.Table) -> int:
    """What the audit did before: every pair of perceptual hashes, in blocks."""
    hashes = np.array([int(text, 16) for text in rows.column("phash").to_pylist()], np.uint64)
    names = rows.column("split").to_pylist()
    splits = np.array([("train", "val", "test").index(name) for name in names], np.int8)
    found = 0
    for start in range(0, len(hashes), 128):
        near = np.bitwise_count(hashes[start : start + 128, None] ^ hashes[None, start:]) <= frame_matching.HASH_BITS
        near &= splits[start : start + 128, None] != splits[None, start:]
        found += int(near.sum())
    return found


def all_moments(lake: Lake, rows: pa.Table) -> float:
    """CPU seconds that comparing all pairs of moments would take: extrapolated from one frame in 500."""
    with Viewer(lake) as viewer:
        signed, _ = signatures(lake, sorted(set(rows.column("recording_id").to_pylist())), viewer)
    hashes = np.concatenate([one.hashes for one in signed.values()])
    chosen = hashes[::500]

    def compare() -> int:
        return sum(
            int((np.bitwise_count(one ^ hashes).sum(axis=1, dtype=np.uint8) <= clip_matching.ENOUGH[0][0]).sum())
            for one in chosen
        )

    return timed(compare)[0] * len(hashes) / len(chosen) / 2


def audited(lake: Lake, rows: pa.Table) -> Audit:
    with Viewer(lake) as viewer:
        return audit(lake, rows, viewer)


def bench(count: int) -> None:
    """Run it all and print the table."""
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as scratch, rclone(Path(scratch) / "s3") as s3:
        settings = Settings(state_dir=Path(scratch) / "state", s3=s3.settings, workers=1)
        lake = open_lake(settings)
        lake.store.ensure_bucket()
        own, leaks = planted(lake, Path(scratch) / "clips")
        hashes = lake.tables.scan("frames", columns=["oid", "phash"]).to_pylist()
        by_oid = {row["oid"]: row["phash"] for row in hashes}
        own = own.append_column("phash", pa.array([by_oid[oid] for oid in own.column("frame_oid").to_pylist()]))
        rest = made_up(lake, RECORDINGS - len(set(own.column("recording_id").to_pylist())), 1 + count // RECORDINGS)
        rows = with_pictures(lake, pa.concat_tables([own, rest.select(own.schema.names)]), own.num_rows)
        table = Table(
            "what", "CPU s", "over comparing all moments",
            title=f"leak audit, {rows.num_rows:,} frames of {RECORDINGS:,} recordings, {len(leaks)} planted leaks",
        )  # fmt: skip
        table.add_row(
            "all pairs of the frames' perceptual hashes alone", f"{timed(lambda: all_pairs(rows))[0]:.1f}", ""
        )
        before = all_moments(lake, rows)
        table.add_row("all pairs of the recordings' moments (extrapolated)", f"{before:.0f}", "1")
        first, found = timed(lambda: audited(lake, rows))
        seen = {frozenset((one.one.recording_name, one.other.recording_name)) for one in found.findings}
        others = Counter(
            one.kind for one in found.findings
            if frozenset((one.one.recording_name, one.other.recording_name)) not in leaks
        )  # fmt: skip
        false = ", ".join(f"{count} {kind}" for kind, count in sorted(others.items())) or "none"
        table.add_row(f"audit: {len(leaks & seen)} of {len(leaks)} leaks found; false alarms: {false}",
                      f"{first:.1f}", f"1/{before / first:.0f}")  # fmt: skip
        again, _ = timed(lambda: audited(lake, rows))
        table.add_row("audit again: signatures and looks are cached", f"{again:.1f}", f"1/{before / again:.0f}")
        for title, seconds in parts(lake, rows).items():
            table.add_row(f"  of which {title}", f"{seconds:.1f}", "")
        Console(width=120).print(table)
        print(f"suspected pairs {found.suspects}, frames looked at {found.looked_at}, missed: {leaks - seen or 'none'}")
        print_signing(lake, own)
        print_stills(lake)


def parts(lake: Lake, rows: pa.Table) -> dict[str, float]:
    """CPU seconds of the audit's parts."""
    every = rows.to_pylist()
    splits = {row["recording_id"]: row["split"] for row in every}
    with Viewer(lake) as viewer:
        loading, (signed, _) = timed(lambda: signatures(lake, sorted(splits), viewer))
    return {
        "reading signatures": loading,
        "finding moments in common": timed(lambda: clip_matching.suspects(signed, splits))[0],
        "finding parts in common": timed(lambda: crop_matching.suspects(signed, splits))[0],
        "finding frames that are alike": timed(lambda: frame_matching.suspects(every, signed))[0],
    }


def print_signing(lake: Lake, rows: pa.Table) -> None:
    """What a new recording costs, once."""
    recordings = sorted(set(rows.column("recording_id").to_pylist()))[:8]
    seen = 0

    def make() -> None:
        nonlocal seen
        with Viewer(lake) as viewer:
            for _, clip in viewer.watch([(recording, (0.0, 0.0, 1.0, 1.0)) for recording in recordings]):
                if isinstance(clip, str):
                    raise SystemExit(clip)
                sign(clip)
                seen += len(clip.indices)

    spent, _ = timed(make)
    print(f"a new recording costs {1000 * spent / seen:.2f} CPU ms a frame, once (384 x 288, start of the decoder too)")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=100_000)
    started = time.monotonic()
    bench(parser.parse_args().frames)
    print(f"{time.monotonic() - started:.0f} s with everything that was made for it")
