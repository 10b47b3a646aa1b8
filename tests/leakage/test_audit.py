"""A clip that came back under another name is found, however it was copied; what only shares a microscope passes."""

from __future__ import annotations

import shutil
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pytest

from tasks.ingest.viewing import Viewer
from tasks.lake import Lake
from tasks.leakage import Audit, Finding, audit, crop_matching
from tasks.leakage.signatures import signatures
from tests.leakage.recorded import Picture, dataset, pictures_of, write


def audited(lake: Lake, rows: pa.Table) -> Audit:
    with Viewer(lake) as viewer:
        return audit(lake, rows, viewer)


def pair_of(finding: Finding) -> tuple[str, ...]:
    """The two recordings' names, the one of train first."""
    return tuple(side.recording_name for side in sorted((finding.one, finding.other), key=lambda s: s.split != "train"))


def pairs(found: Audit) -> set[tuple[str, ...]]:
    return {pair_of(finding) for finding in found.findings}


def test_copies_in_another_split_are_found_however_they_were_made(
    lake: Lake, clips: list[Path], copies: dict[str, Path]
) -> None:
    placed = [(clips[0], "train", "d0"), (clips[1], "train", "d1"), (clips[2], "test", "d2")]
    found = audited(lake, dataset(lake, [*placed, *((path, "test", path.stem) for path in copies.values())]))
    by_pair = {pair_of(finding): finding for finding in found.findings}
    missed = [what for what, path in copies.items() if (clips[0].name, path.name) not in by_pair]
    assert not missed
    assert len(by_pair) == len(copies), "and nothing else"
    assert {finding.kind for finding in found.findings} == {"clip", "crop"}
    assert not found.not_compared


def test_different_clips_pass(lake: Lake, clips: list[Path]) -> None:
    found = audited(lake, dataset(lake, [(clips[0], "train", "a"), (clips[1], "val", "b"), (clips[2], "test", "c")]))
    assert found.passed
    assert (found.frames, found.recordings, found.not_compared) == (18, 3, ())


def test_copies_within_one_split_are_nobodys_business(lake: Lake, clips: list[Path], copies: dict[str, Path]) -> None:
    placed = [(clips[0], "train", "a"), (copies["halved"], "train", "b"), (clips[1], "test", "c")]
    assert audited(lake, dataset(lake, placed)).passed


def dirty(pictures: list[Picture], strength: float = 45) -> list[Picture]:
    """The same clip under a dirty microscope: specks and shades that stand still, with a lamp that flickers."""
    height, width = pictures[0].shape
    generator = np.random.default_rng(3)
    dirt = cv2.GaussianBlur(generator.normal(0, 1, (height, width)), (0, 0), 5)
    dirt = strength * dirt / dirt.std()
    for x, y in generator.uniform(0, 1, (60, 2)) * (width, height):
        cv2.circle(dirt, (int(x), int(y)), int(generator.integers(2, 6)), -70.0, -1)
    light = 1 + 0.04 * np.sin(np.arange(len(pictures)))
    return [np.clip(p * lamp + dirt, 0, 255).astype(np.uint8) for p, lamp in zip(pictures, light, strict=True)]


def test_donors_under_the_same_dirt_pass_whole_or_cropped(lake: Lake, clips: list[Path], tmp_path: Path) -> None:
    one = write(tmp_path / "one.mp4", dirty(pictures_of(clips[0])))
    other = write(tmp_path / "other.mp4", dirty(pictures_of(clips[1])))
    narrow = write(tmp_path / "narrow.mp4", [p[20:-30, 40:-20] for p in dirty(pictures_of(clips[2]))])
    rows = dataset(lake, [(one, "train", "a"), (other, "test", "b"), (narrow, "test", "c")])
    found = audited(lake, rows)
    assert found.passed
    assert {"narrow.mp4", "one.mp4"} in [{f.one.recording_name, f.other.recording_name} for f in found.ruled_out], (
        "the dirt alone should raise suspicion, or this test shows nothing"
    )


@pytest.mark.parametrize("how", ["trimmed", "cropped"])
def test_a_copy_under_dirt_is_still_found(lake: Lake, clips: list[Path], tmp_path: Path, how: str) -> None:
    pictures = dirty(pictures_of(clips[0]))
    one = write(tmp_path / "one.mp4", pictures)
    other = write(tmp_path / "other.mp4", pictures[11:-9] if how == "trimmed" else [p[:-40, 60:] for p in pictures], 30)
    assert pairs(audited(lake, dataset(lake, [(one, "train", "a"), (other, "test", "b")]))) == {
        ("one.mp4", "other.mp4")
    }


def test_trimmed_so_that_no_sampled_frame_is_the_same(lake: Lake, clips: list[Path], tmp_path: Path) -> None:
    other = write(tmp_path / "later.mp4", pictures_of(clips[0])[5:])
    rows = dataset(lake, [(clips[0], "train", "a"), (other, "test", "b")])
    (finding,) = audited(lake, rows).findings
    assert finding.evidence["offset_s"] == pytest.approx(0.2, abs=0.01)
    assert "the same, 0.20 s apart" in finding.why


def test_the_part_that_both_show_is_named(lake: Lake, clips: list[Path], copies: dict[str, Path]) -> None:
    rows = dataset(lake, [(clips[0], "train", "a"), (copies["30 % cut off left and bottom"], "test", "b")])
    (finding,) = audited(lake, rows).findings
    sides = {side.recording_name: side.region for side in (finding.one, finding.other)}
    assert sides[clips[0].name] == pytest.approx((0.3, 0, 1, 0.7), abs=0.01)
    assert finding.evidence["inliers"] >= 20


def test_a_recording_that_cannot_be_seen_is_said_and_its_frames_are_compared(
    lake: Lake, clips: list[Path], copies: dict[str, Path]
) -> None:
    rows = dataset(lake, [(clips[0], "train", "a"), (copies["brightened"], "test", "b")])
    lake.store.remove(lake.blobs.key(rows.column("recording_id")[0].as_py()))
    found = audited(lake, rows)
    assert [name for name, _ in found.not_compared] == [clips[0].name]
    assert {finding.kind for finding in found.findings} == {"frame"}


def test_a_second_audit_reads_no_recording_again(lake: Lake, clips: list[Path], copies: dict[str, Path]) -> None:
    rows = dataset(lake, [(clips[0], "train", "a"), (copies["halved"], "test", "b"), (clips[1], "test", "c")])
    first = audited(lake, rows)

    class Nothing:
        crashed = ()

        def watch(self, wanted):
            assert not list(wanted), "everything is in the cache"
            return iter(())

        def pictures(self, wanted):
            raise AssertionError("an audit needs no pictures")

    assert audit(lake, rows, Nothing()) == first


def test_a_pair_s_overlap_is_computed_once(
    lake: Lake, clips: list[Path], copies: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    computed: list[crop_matching.Overlap | None] = []
    compute = crop_matching.overlap_of
    monkeypatch.setattr(crop_matching, "overlap_of", lambda *own: computed.append(compute(*own)) or computed[-1])
    cut = copies["30 % cut off left and bottom"]
    placed = [(clips[0], "train", "a"), (cut, "test", "b"), (clips[1], "test", "c")]
    rows = dataset(lake, placed)
    first, pairs_met = audited(lake, rows), len(computed)
    assert pairs_met and any(computed) and [finding.kind for finding in first.findings] == ["crop"]
    assert audited(lake, rows) == first and len(computed) == pairs_met, "all of them are kept, those of nothing, too"
    more = pa.concat_tables([rows, dataset(lake, [(copies["a tenth cut off the left"], "test", "d")])])
    again, new = audited(lake, more), len(computed) - pairs_met
    assert first.findings[0] in again.findings and len(again.findings) == 2
    assert 1 <= new <= 2, "only pairs of the new recording, which one in train may meet"
    for kept in (lake.settings.cache_dir / "pair-overlaps").iterdir():
        kept.write_text("damaged")
    assert audited(lake, rows) == first and len(computed) == 2 * pairs_met + new
    monkeypatch.setattr("tasks.leakage.kept_checks.audit_code", lambda: "another")
    assert audited(lake, rows) == first and len(computed) == 3 * pairs_met + new, "other code computes anew"


def lose_after_signing(lake: Lake, rows: pa.Table) -> None:
    """Take the first recording away once all have their signatures."""
    recordings = sorted(set(rows.column("recording_id").to_pylist()))
    with Viewer(lake) as viewer:
        signatures(lake, recordings, viewer)
    gone = rows.column("recording_id")[0].as_py()
    lake.blobs.fetch(gone).unlink()
    lake.store.remove(lake.blobs.key(gone))


def test_a_suspect_that_cannot_be_looked_at_is_not_ruled_out(lake: Lake, clips: list[Path], tmp_path: Path) -> None:
    later = write(tmp_path / "later.mp4", pictures_of(clips[0])[5:])  # no sampled frame is the same
    rows = dataset(lake, [(clips[0], "train", "a"), (clips[1], "train", "b"), (later, "test", "c")])
    lose_after_signing(lake, rows)
    found = audited(lake, rows)
    assert not found.passed
    (finding,) = found.findings
    assert finding.kind == "inconclusive" and pair_of(finding) == (clips[0].name, "later.mp4")
    assert "could not be looked at: " in finding.why
    assert not found.ruled_out


def test_a_suspect_that_cannot_be_looked_at_is_compared_by_its_frames(
    lake: Lake, clips: list[Path], copies: dict[str, Path]
) -> None:
    rows = dataset(lake, [(clips[0], "train", "a"), (copies["brightened"], "test", "b")])
    lose_after_signing(lake, rows)
    (finding,) = audited(lake, rows).findings
    assert finding.kind == "frame", "though both move, and frames of what moves are not compared otherwise"


def test_signatures_by_other_code_are_made_again(
    lake: Lake, clips: list[Path], copies: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    recording = dataset(lake, [(clips[0], "train", "a")]).column("recording_id")[0].as_py()
    with Viewer(lake) as viewer:
        signatures(lake, [recording], viewer)
        lake.store.remove(lake.blobs.key(recording))
        shutil.rmtree(lake.settings.cache_dir)
        assert set(signatures(lake, [recording], viewer)[0]) == {recording}, "from the bucket"
        monkeypatch.setattr("tasks.leakage.signatures.code_of", lambda result: "other")
        assert set(signatures(lake, [recording], viewer)[1]) == {recording}, "none of that code, and it cannot be seen"
