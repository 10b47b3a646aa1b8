"""Clips that PyAV's encoders do not write: made by changing packets on the way from one container to another."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from fractions import Fraction
from pathlib import Path

import av


def remux(
    source: Path,
    target: Path,
    change: Callable[[int, bytes], bytes | None] = lambda number, data: data,
    *,
    empty_slots: int = 0,
    pts: Callable[[int], int] | None = None,
    dts: Callable[[int], int] = lambda number: number,
) -> Path:
    """Copy a video packet by packet.

    Args:
        source: What to copy.
        target: Its suffix says into which container.
        change: Number and bytes of a packet -> its new bytes (none: an empty packet); None leaves it out.
        empty_slots: For AVI: how many follow each packet.
        pts: Number of a packet -> when it is shown, in frame times.
        dts: Number of a packet -> when it is decoded, in frame times; with `pts` only.
    """
    with av.open(str(source)) as read, av.open(str(target), "w") as written:
        origin = read.streams.video[0]
        rate = origin.average_rate or Fraction(25)
        stream = written.add_stream_from_template(origin)
        if empty_slots:
            stream.time_base = 1 / (rate * (1 + empty_slots))
        packets = [packet for packet in read.demux(origin) if packet.dts is not None]
        for number, packet in enumerate(packets):
            data = change(number, bytes(packet))
            if data is None:
                continue
            copy = av.Packet(data)
            copy.pts, copy.dts, copy.duration = packet.pts, packet.dts, packet.duration
            if target.suffix == ".avi":  # which knows no presentation times
                copy.pts = copy.dts = packet.dts - (packets[0].dts or 0)
            copy.time_base, copy.is_keyframe, copy.stream = packet.time_base, packet.is_keyframe, stream
            if pts is not None:
                copy.pts, copy.dts = (round(of(number) / rate / packet.time_base) for of in (pts, dts))
            written.mux(copy)
    return target


def concatenated(sources: Iterable[Path], target: Path) -> Path:
    """One video after the other, packet by packet, under the first one's header."""
    paths, at = list(sources), 0
    with av.open(str(paths[0])) as first, av.open(str(target), "w") as written:
        stream = written.add_stream_from_template(first.streams.video[0])
        for path in paths:
            with av.open(str(path)) as read:
                packets = [packet for packet in read.demux(video=0) if packet.dts is not None]
                step = int(1 / (read.streams.video[0].average_rate * read.streams.video[0].time_base))
                for packet in packets:
                    packet.pts, packet.dts, packet.stream = packet.pts + at, packet.dts + at, stream
                    written.mux(packet)
                at += step * len(packets)
    return target
