"""Videos, decoded with PyAV.

The container is read twice, the frames are decoded once. Reading it without decoding tells beforehand how many frames
there ought to be and when (`packets`), which is what sampling over the whole recording and noticing damage rest on.
Frames that nobody wants are neither converted nor copied. Where every packet is a picture that needs no other one
(MJPEG, ProRes, most uncompressed) only the wanted ones are decoded, and an MJPEG packet is the JPEG that is stored.
Only pictures of more than 8 bits are decoded twice: to see how bright the recording gets (`grey`).
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
from av.video.reformatter import ColorRange, VideoReformatter

from tasks.config import IngestLimits
from tasks.ingest.formats import Format
from tasks.ingest.grey import Brightness, Range
from tasks.ingest.images import Image, MediaType, kept_jpeg
from tasks.ingest.media import Media, check_complete, mean_rate
from tasks.ingest.packets import Scan, announced_frames, check_whole, opened, packets_of, scan, seconds, usual_step
from tasks.ingest.pixels import Converter, NeedsRange, deep_values, is_as_stored, is_deep
from tasks.ingest.sampling import Pts, Sink

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.packet import Packet
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream


@dataclass
class _Video:
    """An open video, and what is known of it."""

    source: InputContainer
    stream: VideoStream
    scan: Scan
    announced: int
    picture: Converter


class _NeedsDecoding(Exception):
    """A wanted packet of a video of lone pictures did not decode: every frame must be decoded to know."""


def read(
    path: Path,
    container: Format,
    sink: Sink,
    *,
    frames_known: int | None = None,
    grey_range: Range | None = None,
    limits: IngestLimits | None = None,
) -> tuple[Media, Pts]:
    """Decode a video once and give the wanted frames to `sink`.

    Frame `i` is the i-th frame that comes out of the decoder, in presentation order. Damage costs the frames it hits;
    the rest is read. A frame keeps its own size, should it change midway. Slots of time without a picture of their own
    (an AVI's empty chunks, MPEG-4's pictures that are not coded) show the picture before them on, and are no frames.

    Args:
        path: A local file.
        container: What it must be; no other demuxer gets to see it.
        sink: Says which frames it wants, and gets them as [h, w, 3] BGR or [h, w] grey, shown as the container says.
        frames_known: `frames_decoded` of an earlier reading of the same file, whose frame indices must hold again.
        grey_range: What an earlier reading stretched pictures of more than 8 bits over.
        limits: How much it may ask of this machine.

    Returns:
        What the video is, and the presentation timestamps of its frames; both cover only what was decoded before the
        sink was done.

    Raises:
        UnreadableRecording: It cannot be opened, has no video, is beyond the limits, or too little of it decodes.
    """
    limits = limits or IngestLimits()
    with opened(path, container, limits) as (source, stream):
        deep = is_deep(stream.codec_context.format)
        found = scan(source, stream, container)
        check_whole(stream, found, limits)
        announced = announced_frames(path, source, stream, found)
    if deep and grey_range is None:
        grey_range = _brightness(path, container, limits)
    alone = found.stand_alone and frames_known in (None, len(found.stamps))
    while True:
        with opened(path, container, limits) as (source, stream):
            video = _Video(source, stream, found, announced, Converter(grey_range))
            try:
                if alone:
                    return _read_wanted_packets(video, sink, indices_hold=frames_known is not None)
                return _read_all(video, sink)
            except _NeedsDecoding:
                alone = False
                continue
            except NeedsRange:  # the first such frame comes midway
                pass
        grey_range = _brightness(path, container, limits) or (0.0, 1.0)


def _brightness(path: Path, container: Format, limits: IngestLimits) -> Range | None:
    """The range of all whole frames of more than 8 bits."""
    seen, reformatter = Brightness(), VideoReformatter()
    with opened(path, container, limits) as (source, stream):
        for packet in packets_of(source, stream):
            for frame in _decoded(packet) or ():
                values = None if frame.is_corrupt else deep_values(frame, reformatter)
                if values is not None:
                    seen.see(values)
    return seen.range


def _decoded(packet: Packet[VideoStream]) -> list[VideoFrame] | None:
    """The frames that come out when a packet goes in; None where it does not decode."""
    try:
        return list[Any](packet.decode())
    except (av.FFmpegError, ValueError):
        return None


def _read_all(video: _Video, sink: Sink) -> tuple[Media, Pts]:
    """Decode every frame; look closer only at the wanted."""
    found, stream, picture = video.scan, video.stream, video.picture
    time_base = stream.time_base or Fraction(1, 1000)
    expected = seconds(found.stamps, time_base)
    sink.plan(expected)
    stamps: list[float] = []
    step, tick, damaged = usual_step(found.stamps), float(time_base), False
    for packet in packets_of(video.source, stream):
        frames = _decoded(packet)
        if frames is None:
            damaged = True  # the frames it held are lost; what was announced tells how many
            continue
        for frame in frames:
            index = len(stamps)
            stamp = _stamp(frame, index, found, stamps[-1] if stamps else None, step)
            stamps.append(stamp)
            picture.see(frame)
            if sink.wants(index, stamp * tick) and (sink.takes_damaged or not frame.is_corrupt):
                taken = _picture(frame, packet if len(frames) == 1 else None, picture)
                sink.take(index, stamp * time_base.numerator / time_base.denominator, *taken)
                if sink.done:
                    return _media(video, expected[: len(stamps)]), expected
    if damaged and not stream.frames and found.stamps:
        # Only then are gaps a loss: packets went missing too, and nothing else counts the frames.
        video.announced = max(video.announced, round((found.stamps[-1] - found.stamps[0]) / step) + 1)
    pts = seconds(stamps, time_base)
    media = _media(video, pts)
    check_complete(media)
    return media, pts


def _stamp(frame: VideoFrame, index: int, found: Scan, previous: float | None, step: float) -> float:
    """When a frame is shown. Depends on nothing behind it, so that reading a part gives what reading all gives."""
    stamp: float | None = frame.pts
    if found.by_order and index < len(found.stamps):
        stamp = found.stamps[index]
    if previous is None:
        return 0 if stamp is None else stamp
    return stamp if stamp is not None and stamp > previous else previous + step


def _read_wanted_packets(video: _Video, sink: Sink, *, indices_hold: bool) -> tuple[Media, Pts]:
    """Take the timestamps from the packets, and decode only those that are wanted.

    A wanted packet that does not decode means that others may not either, so every frame is decoded to count them
    (`_NeedsDecoding`); not where indices were given out by packets already (`indices_hold`): then it is not taken.
    """
    pts = seconds(video.scan.stamps, video.stream.time_base)
    sink.plan(pts)
    index = 0
    for packet in packets_of(video.source, video.stream):
        if not packet.size or packet.is_discard:
            continue
        if index >= len(pts):
            raise _NeedsDecoding
        if sink.wants(index, float(pts[index])):
            frames = _decoded(packet) or []
            if len(frames) == 1 and (sink.takes_damaged or not frames[0].is_corrupt):
                sink.take(index, float(pts[index]), *_picture(frames[0], packet, video.picture))
            elif not indices_hold:
                raise _NeedsDecoding
            if sink.done:
                break
        index += 1
    media = _media(video, pts)
    check_complete(media)
    return media, pts


def _picture(
    frame: VideoFrame, packet: Packet[VideoStream] | None, picture: Converter
) -> tuple[Image, tuple[bytes, MediaType] | None]:
    """Pixels, and the packet that the frame came from where it is a JPEG to be stored as it is."""
    picture.see(frame)
    codec = packet.stream.codec_context.name if packet is not None else None
    if packet is not None and codec == "mjpeg" and is_as_stored(frame) and frame.color_range != ColorRange.MPEG:
        data = bytes(packet)
        kept = kept_jpeg(data, (frame.width, frame.height))
        if kept is not None:
            return kept[0], (kept[1], "image/jpeg")
    return picture.of(frame), None


def _media(video: _Video, pts: Pts) -> Media:
    source, stream, picture = video.source, video.stream, video.picture
    context = stream.codec_context
    size = picture.size_px or (context.width, context.height)
    stated_hz = float(stream.average_rate) if stream.average_rate else None
    rate = mean_rate(pts, stated_hz=stated_hz, lost=video.announced - len(pts))
    low, high = picture.over or (None, None)
    return Media(
        container=source.format.name.split(",")[0],
        codec=context.name,
        width_px=size[1] if picture.turned else size[0],
        height_px=size[0] if picture.turned else size[1],
        fps_hz=rate.fps_hz,
        variable_frame_rate=rate.variable,
        duration_s=rate.duration_s,
        frames_announced=max(video.announced, len(pts)),
        frames_decoded=len(pts),
        grey_low=low,
        grey_high=high,
    )
