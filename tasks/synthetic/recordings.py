"""Make recordings: simulate, render and encode, and hand back the truth about each.

A recording follows from (seed, number, sizes) alone, never from how many are made: number 7 made later is the same as
number 7 made at once, and everything is written to the same bytes again. `tasks.synthetic.labels` and `.tracks` write
the truth to files.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from tasks.errors import ConfigError
from tasks.synthetic.look import Look, draw_look
from tasks.synthetic.motion import Floats
from tasks.synthetic.render import Renderer
from tasks.synthetic.scene import Scene, SceneSpec, simulate
from tasks.synthetic.truth import TrackedBox, Trajectory, ground_truth
from tasks.synthetic.video import VFR_TICKS_HZ, Container, frame_rate, variable_ticks, write_video

STUDY = "synthetic"


@dataclass(frozen=True)
class SyntheticRecording:
    """A recording that was written, and the truth about it.

    Attributes:
        path: The video.
        donor: 'donor-01': each recording has its own.
        study: 'synthetic'.
        seed: That it follows from, with its number.
        number: From 1.
        width_px: Of the frame.
        height_px: Of the frame.
        fps_hz: Exact rate; the nominal one where the rate varies.
        um_per_px: Calibration.
        pts_s: Presentation time of every frame, [n].
        look: The donor's look.
        boxes: Labelled objects of every frame.
        trajectories: Every track, with its exact kinematics.
    """

    path: Path
    donor: str
    study: str
    seed: int
    number: int
    width_px: int
    height_px: int
    fps_hz: float
    um_per_px: float
    pts_s: Floats
    look: Look
    boxes: tuple[tuple[TrackedBox, ...], ...]
    trajectories: tuple[Trajectory, ...]

    @property
    def stem(self) -> str:
        """The file's name without suffix: what its label files begin with."""
        return self.path.stem

    @property
    def frames(self) -> int:
        """How many frames it has."""
        return len(self.pts_s)

    def count(self, label: str) -> int:
        """Labelled objects of a class, over all frames."""
        return sum(box.label == label for boxes in self.boxes for box in boxes)


@dataclass(frozen=True)
class _Job:
    """One recording to make, for a worker process."""

    folder: Path
    number: int
    seed: int
    frames: int
    width_px: int
    height_px: int
    fps_hz: float
    um_per_px: float
    sperm_per_frame: tuple[float, float]
    impurities_per_frame: tuple[float, float]
    container: Container
    variable_frame_rate: bool
    name: str
    look: dict[str, Any]


def make_recordings(
    folder: Path,
    *,
    count: int = 6,
    seed: int = 0,
    frames: int = 225,
    width_px: int = 480,
    height_px: int = 360,
    fps_hz: float = 25.0,
    um_per_px: float = 0.35,
    sperm_per_frame: tuple[float, float] = (15, 30),
    impurities_per_frame: tuple[float, float] = (3, 6),
    container: Container = "mp4",
    variable_frame_rate: bool = False,
    first: int = 1,
    name: str = "swim",
    look: dict[str, Any] | None = None,
    workers: int = 1,
    on_done: Callable[[SyntheticRecording], None] | None = None,
) -> list[SyntheticRecording]:
    """Make synthetic recordings, each of a donor of its own, with their exact truth.

    Args:
        folder: Where the videos go, '<name>-<number>.mp4'; made if absent.
        count: How many recordings.
        seed: Everything random follows from it and a recording's number.
        frames: Frames of each recording.
        width_px: Of the frame; even.
        height_px: Of the frame; even.
        fps_hz: Frame rate; 29.97 is taken as 30000/1001.
        um_per_px: Calibration: sizes and speeds in pixels follow from it. At 0.35 a head is 13-16 px long.
        sperm_per_frame: Least and greatest mean number of heads in a donor's frames.
        impurities_per_frame: The same for impurities.
        container: 'mp4' (h264) or 'avi' (Motion JPEG).
        variable_frame_rate: Frames come late and go missing; mp4 only.
        first: Number of the first recording; to add more to a folder later.
        name: What the files' names begin with.
        look: Fields of `Look` to fix for all recordings, for tests.
        workers: Processes that make recordings side by side. The result is the same for any number.
        on_done: Called in this process as each recording is complete, in order.

    Raises:
        ConfigError: Listing every argument that cannot be.
    """
    _check(count=count, frames=frames, width_px=width_px, height_px=height_px, fps_hz=fps_hz, um_per_px=um_per_px,
           first=first, workers=workers)  # fmt: skip
    if variable_frame_rate and container != "mp4":
        raise ConfigError(f"a variable frame rate in {container}", expected="mp4", fix="choose container='mp4'")
    jobs = [
        _Job(folder, number, seed, frames, width_px, height_px, fps_hz, um_per_px, sperm_per_frame,
             impurities_per_frame, container, variable_frame_rate, name, dict(look or {}))
        for number in range(first, first + count)
    ]  # fmt: skip
    done = []
    for recording in _made(jobs, workers):
        done.append(recording)
        if on_done is not None:
            on_done(recording)
    return done


def make_scene(
    *,
    seed: int,
    number: int,
    pts_s: Floats,
    width_px: int,
    height_px: int,
    um_per_px: float,
    sperm_per_frame: tuple[float, float] = (15, 30),
    impurities_per_frame: tuple[float, float] = (3, 6),
    look: dict[str, Any] | None = None,
) -> Scene:
    """Simulate a recording without writing it; arguments as `make_recordings`, with every frame's time given."""
    drawn = draw_look(np.random.default_rng([seed, number]), sperm_per_frame, impurities_per_frame)
    spec = SceneSpec(width_px, height_px, um_per_px, pts_s, replace(drawn, **(look or {})))
    return simulate(spec, int(np.random.SeedSequence([seed, number]).generate_state(1)[0]))


def _made(jobs: list[_Job], workers: int) -> Iterator[SyntheticRecording]:
    if workers == 1 or len(jobs) == 1:
        yield from map(_make, jobs)
        return
    # Spawned, not forked: a fork of a process with threads (a server, a progress bar) can hang.
    with ProcessPoolExecutor(min(workers, len(jobs)), mp_context=get_context("spawn")) as pool:
        yield from pool.map(_make, jobs)


def _make(job: _Job) -> SyntheticRecording:
    rate = frame_rate(job.fps_hz)
    ticks = None
    pts_s = np.arange(job.frames) / float(rate)
    if job.variable_frame_rate:
        ticks = variable_ticks(job.frames, float(rate), np.random.default_rng([job.seed, job.number, 3]))
        pts_s = np.array(ticks) / VFR_TICKS_HZ
    scene = make_scene(
        seed=job.seed, number=job.number, pts_s=pts_s, width_px=job.width_px, height_px=job.height_px,
        um_per_px=job.um_per_px, sperm_per_frame=job.sperm_per_frame, impurities_per_frame=job.impurities_per_frame,
        look=job.look,
    )  # fmt: skip
    truth = ground_truth(scene)
    look = scene.spec.look
    path = job.folder / f"{job.name}-{job.number:02d}.{job.container}"
    path.parent.mkdir(parents=True, exist_ok=True)
    renderer = Renderer(scene)
    pictures = (renderer.frame(index) for index in range(job.frames))
    write_video(path, pictures, rate=rate, ticks=ticks, tint=look.tint, container=job.container)
    return SyntheticRecording(
        path=path, donor=f"donor-{job.number:02d}", study=STUDY,
        seed=job.seed, number=job.number, width_px=job.width_px, height_px=job.height_px, fps_hz=float(rate),
        um_per_px=job.um_per_px, pts_s=pts_s, look=look, boxes=truth.boxes, trajectories=truth.trajectories,
    )  # fmt: skip


def _check(**values: float) -> None:
    faults = [f"{name} = {value}: must be above 0" for name, value in values.items() if not value > 0]
    faults += [f"{name} = {values[name]}: must be even" for name in ("width_px", "height_px") if values[name] % 2]
    if faults:
        raise ConfigError(f"synthetic recordings: {'; '.join(faults)}")
