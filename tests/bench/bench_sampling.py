"""What sampling frames costs, against reading and writing every frame and against decoding alone.

    python -m tests.bench.bench_sampling

CPU milliseconds per source frame, all contenders in one run on the same clips (made here, of swimming blobs), best of
`--rounds`. Sampling is what ingest does: timestamps of every frame, one frame a second as a JPEG, with its hash.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import av
import cv2
import numpy as np
import numpy.typing as npt

from tasks.ingest import video
from tasks.ingest.formats import Format
from tasks.ingest.sampling import Rate, Sampler

FPS_HZ, WIDTH, HEIGHT = 30, 640, 480


def scenes(frames: int, noise: float) -> list[npt.NDArray[np.uint8]]:
    """Bright heads that swim over a grey field; `noise` makes them expensive to compress."""
    generator = np.random.default_rng(0)
    field = cv2.GaussianBlur(generator.normal(120, 40, (HEIGHT, WIDTH)), (0, 0), 9).clip(0, 255)
    start, speed = generator.uniform(0, 1, (30, 2)) * (WIDTH, HEIGHT), generator.normal(0, 2, (30, 2))
    pictures = []
    for number in range(frames):
        picture = field + (generator.normal(0, noise, field.shape) if noise else 0)
        picture = picture.clip(0, 255).astype(np.uint8)
        for x, y in (start + number * speed) % (WIDTH, HEIGHT):
            cv2.ellipse(picture, (int(x), int(y)), (9, 6), 30, 0, 360, 235, -1)
        pictures.append(picture)
    return pictures


def write(path: Path, frames: int, codec: str, options: dict[str, str], noise: float, pix_fmt: str) -> Path:
    """Write a clip of `frames` frames, from 60 pictures to and fro."""
    pictures = scenes(min(frames, 60), noise)
    there_and_back = pictures + pictures[-2:0:-1]
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=FPS_HZ, options=options)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, pix_fmt
        for number in range(frames):
            frame = av.VideoFrame.from_ndarray(there_and_back[number % len(there_and_back)], format="gray")
            frame.pts = number
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def read_and_write_all(path: Path, folder: Path) -> int:
    """The plain way: OpenCV reads every frame and writes it as a JPEG."""
    capture, count = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1]), 0
    while True:
        more, picture = capture.read()
        if not more:
            return count
        cv2.imwrite(str(folder / f"{count}.jpg"), picture)
        count += 1


def decode_only(path: Path, folder: Path) -> int:
    """The limit: decode, and look at nothing."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.thread_type = "NONE"
        return sum(1 for _ in container.decode(stream))


def ours(path: Path, folder: Path, lines: int = 1) -> int:
    """Ingest's reading: timestamps of all, a JPEG a second."""
    sampler = Sampler({f"line-{number}": Rate(1.0, 10_000, 2) for number in range(lines)})
    _, pts_s = video.read(path, Format.AVI if path.suffix == ".avi" else Format.MP4, sampler)
    for picture in sampler.pictures:
        (folder / f"{picture.frame_index}.jpg").write_bytes(picture.data)
    return len(pts_s)


def three_lines(path: Path, folder: Path) -> int:
    """The same for three lines at once."""
    return ours(path, folder, lines=3)


def cpu_ms_per_frame(work: Callable[[Path, Path], int], path: Path, frames: int, rounds: int) -> float:
    """The best of some rounds."""
    best = float("inf")
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as folder:
            begin = time.process_time()
            count = work(path, Path(folder))
            best = min(best, time.process_time() - begin)
        if count != frames:
            raise SystemExit(f"{work.__name__} saw {count} of {frames} frames of {path.name}")
    return best / frames * 1000


def main() -> None:
    """Make the clips, measure, print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=1500)
    parser.add_argument("--rounds", type=int, default=3)
    chosen = parser.parse_args()
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as name:
        folder, frames = Path(name), chosen.frames
        clips = {
            "h264 low": write(folder / "low.mp4", frames, "libx264", {"crf": "33"}, 0, "yuv420p"),
            "h264 high": write(folder / "high.mp4", frames, "libx264", {"b": "9700k"}, 12, "yuv420p"),
            "mjpeg": write(folder / "m.avi", frames, "mjpeg", {"qmin": "3", "qmax": "3"}, 4, "yuvj420p"),
        }
        print(f"{frames} frames {WIDTH}x{HEIGHT}; CPU ms per source frame, best of {chosen.rounds}\n")
        print(
            f"{'clip':<10} {'Mbit/s':>7} {'read+write all':>15} {'decode only':>12} {'ours':>7} {'3 lines':>8}"
            f" {'all/ours':>9} {'ours/decode':>12}"
        )
        for title, path in clips.items():
            works = (read_and_write_all, decode_only, ours, three_lines)
            costs = [cpu_ms_per_frame(work, path, frames, chosen.rounds) for work in works]
            every, decode, own, three = costs
            megabits = path.stat().st_size * 8 / 1e6 / (frames / FPS_HZ)
            print(f"{title:<10} {megabits:>7.2f} {every:>15.3f} {decode:>12.3f} {own:>7.3f} {three:>8.3f}"
                  f" {every / own:>8.1f}x {own / decode:>11.2f}x")  # fmt: skip
    print("\nwanted on h264 low: all/ours at least 2.4x, ours/decode at most 1.5x")


if __name__ == "__main__":
    main()
