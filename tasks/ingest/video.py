"""Videos, decoded with PyAV: the only module of the room that imports it.

The container is read twice, the frames are decoded once. Reading it without decoding costs a hundredth of decoding and
tells beforehand how many frames there ought to be and when, which is what sampling over the whole recording and
noticing damage rest on. Frames that nobody wants are neither converted nor copied. Where every packet is a picture of
its own (MJPEG, ProRes, uncompressed) only the wanted ones are decoded, and an MJPEG packet is the JPEG that is stored.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
import cv2
import numpy as np
from av.video.reformatter import VideoReformatter

from tasks.errors import UnreadableRecording
from tasks.ingest.formats import Format
from tasks.ingest.images import Image, MediaType, kept_jpeg
from tasks.ingest.media import Media, check_complete, mean_rate
from tasks.ingest.sampling import Pts, Sink

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.packet import Packet
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

_DEMUXERS = {Format.MP4: "mov", Format.AVI: "avi", Format.MATROSKA: "matroska"}
_MAX_PIXELS = 2**28  # 16k x 16k; a header that claims more is damaged or hostile
_TURNS = {90: cv2.ROTATE_90_COUNTERCLOCKWISE, -90: cv2.ROTATE_90_CLOCKWISE, 180: cv2.ROTATE_180, -180: cv2.ROTATE_180}


@dataclass
class _Scan:
    """What the packets say, without decoding any. `stamps` in presentation order, in units of the time base."""

    stamps: list[int] = field(default_factory=list)
    timed: bool = True
    reordered: bool = False
    dropped: int = 0
    discarded: int = 0
    end: int = 0


class _NeedsDecoding(Exception):
    """A wanted packet of an intra-only video did not decode by itself: every frame must be decoded to know."""


def read(path: Path, container: Format, sink: Sink, *, frames_known: int | None = None) -> tuple[Media, Pts]:
    """Decode a video once and give the wanted frames to `sink`.

    Frame `i` is the i-th frame that comes out of the decoder, in presentation order. Damage costs the frames it hits;
    the rest is read.

    Args:
        path: A local file.
        container: What it must be; no other demuxer gets to see it.
        sink: Says which frames it wants, and gets them as [h, w, 3] BGR, turned as the container says.
        frames_known: `frames_decoded` of an earlier reading of the same file, whose frame indices must hold again.

    Returns:
        What the video is, and the presentation timestamps of its frames; both cover only what was decoded before the
        sink was done.

    Raises:
        UnreadableRecording: It cannot be opened, has no video, or too little of it decodes.
    """
    with _opened(path, container) as (source, stream):
        announced_by_header, size = stream.frames, (stream.codec_context.width, stream.codec_context.height)
        intra_only = bool(stream.codec_context.codec.intra_only)
        scan = _scan(source, stream, container)
        announced = _announced(source, stream, scan, announced_by_header)
    if size[0] * size[1] > _MAX_PIXELS:
        raise UnreadableRecording(f"the header claims frames of {size[0]} x {size[1]} px", expected="16k x 16k at most")
    if intra_only and frames_known in (None, len(scan.stamps)):
        with suppress(_NeedsDecoding), _opened(path, container) as (source, stream):
            return _read_wanted_packets(source, stream, sink, scan, announced, indices_hold=frames_known is not None)
    with _opened(path, container) as (source, stream):
        return _read_all(source, stream, sink, scan, announced)


@contextmanager
def _opened(path: Path, container: Format) -> Iterator[tuple[InputContainer, VideoStream]]:
    try:
        # `file:` keeps a name such as "a:b.mp4" a path; the whitelist keeps the demuxer from opening anything else.
        source = av.open(f"file:{path}", format=_DEMUXERS[container], options={"protocol_whitelist": "file"})
    except (av.FFmpegError, ValueError) as error:
        raise UnreadableRecording(f"the video cannot be opened ({_plain(error)})", fix="copy it again") from error
    with source:
        streams = [stream for stream in source.streams.video if not _is_cover_picture(stream)]
        if not streams:
            found = ", ".join(stream.type for stream in source.streams) or "no track at all"
            raise UnreadableRecording("the file holds no video (0 frames)", found=found)
        stream = streams[0]
        if stream.codec_context is None:
            raise UnreadableRecording("the video's codec is unknown to us", fix="export it as H.264 or MJPEG")
        stream.thread_type = "NONE"  # recordings are decoded side by side; threads within one gain nothing
        stream.codec_context.thread_count = 1
        yield source, stream


def _is_cover_picture(stream: VideoStream) -> bool:
    return bool(stream.disposition & av.stream.Disposition.attached_pic)


def _plain(error: Exception) -> str:
    return (getattr(error, "strerror", None) or str(error) or type(error).__name__).lower()


def _packets(source: InputContainer, stream: VideoStream) -> Iterator[Packet[VideoStream]]:
    """All packets of the stream, the closing empty one included; a container that breaks off just ends."""
    packets = source.demux(stream)
    failures = 0
    while failures < 100:
        try:
            yield next(packets)
            failures = 0
        except StopIteration:
            return
        except av.FFmpegError:
            failures += 1
            packets = source.demux(stream)


def _scan(source: InputContainer, stream: VideoStream, container: Format) -> _Scan:
    scan, previous, mjpeg = _Scan(), None, stream.codec_context.name == "mjpeg"
    for packet in _packets(source, stream):
        if not packet.size:  # the closing packet
            continue
        if packet.is_discard:  # cut away by an edit list: nobody ever sees these
            scan.discarded += 1
            continue
        if mjpeg and not _starts_picture(packet):
            continue
        # AVI has no presentation times: its packets come at the frame rate, and what is reported as pts is a guess.
        stamp = packet.dts if container is Format.AVI or packet.pts is None else packet.pts
        if stamp is None:
            scan.timed = False
            stamp = (previous if previous is not None else -1) + 1
        scan.reordered |= container is Format.AVI and packet.pts not in (None, packet.dts)
        scan.end = max(scan.end, stamp + (packet.duration or 0))
        scan.stamps.append(stamp)
        previous = stamp
    scan.stamps.sort()
    if container is Format.AVI and scan.stamps:
        # AVI's header counts time slots; a camera that dropped frames leaves slots empty, which is no damage.
        scan.dropped = max(0, scan.stamps[-1] - scan.stamps[0] + 1 - len(scan.stamps))
    return scan


def _starts_picture(packet: Packet[VideoStream]) -> bool:
    return bytes(memoryview(packet)[:2]) == b"\xff\xd8"


def _announced(source: InputContainer, stream: VideoStream, scan: _Scan, by_header: int) -> int:
    """How many frames there ought to be.

    MP4 and AVI count them in their index. Matroska only states how long it is: where its packets end earlier, the
    missing time is counted at the rate of the part that is there.
    """
    found = len(scan.stamps)
    if by_header:
        return max(by_header - scan.discarded - scan.dropped, found)
    stated_s = _stated_duration_s(source, stream)
    if not found or stated_s is None or stream.time_base is None:
        return found
    start, step_s = min(scan.stamps[0], 0), _usual_step(scan.stamps) * float(stream.time_base)
    missing_s = stated_s - float((scan.end - start) * stream.time_base)
    return found + (round(missing_s / step_s) if missing_s > 1.5 * step_s else 0)


def _stated_duration_s(source: InputContainer, stream: VideoStream) -> float | None:
    if "matroska" not in source.format.name:
        return None
    with suppress(KeyError, ValueError):
        hours, minutes, seconds = stream.metadata["DURATION"].split(":")
        return int(hours) * 3600 + int(minutes) * 60 + float(seconds)
    # The file's duration may be that of a longer sound track.
    return source.duration / av.time_base if source.duration and len(source.streams) == 1 else None


def _seconds(stamps: list[int], time_base: Fraction | None) -> Pts:
    if time_base is None:
        return np.full(len(stamps), np.nan)
    return np.asarray(stamps, dtype=np.float64) * time_base.numerator / time_base.denominator


def _read_all(
    source: InputContainer, stream: VideoStream, sink: Sink, scan: _Scan, announced: int
) -> tuple[Media, Pts]:
    """Decode every frame; look closer only at the wanted."""
    time_base = stream.time_base or Fraction(1, 1000)
    expected = _seconds(scan.stamps, time_base)
    sink.plan(expected)
    stamps: list[int] = []
    picture, tick = _Converter(), float(time_base)
    step, damaged = _usual_step(scan.stamps), False
    for packet in _packets(source, stream):
        try:
            frames = packet.decode()
        except (av.FFmpegError, ValueError):
            damaged = True  # the frames it held are lost; what was announced tells how many
            continue
        for frame in frames:
            index, stamp = len(stamps), frame.pts
            if scan.reordered and index < len(scan.stamps):
                stamp = scan.stamps[index]
            elif stamp is None:
                stamp = stamps[-1] + round(step) if stamps else 0
            stamps.append(stamp)
            if sink.wants(index, stamp * tick) and (sink.takes_damaged or not frame.is_corrupt):
                sink.take(index, stamp * time_base.numerator / time_base.denominator, picture.of(frame))
                if sink.done:
                    return _media(source, stream, picture.turned, announced, expected[: len(stamps)]), expected
    pts = _repaired(_seconds(stamps, time_base), expected)
    if damaged and not stream.frames:
        # Only then are gaps a loss: packets went missing too, and nothing else counts the frames.
        announced = max(announced, round((scan.stamps[-1] - scan.stamps[0]) / step) + 1)
    media = _media(source, stream, picture.turned, announced, pts)
    check_complete(media)
    return media, pts


def _repaired(pts: Pts, expected: Pts) -> Pts:
    """Timestamps that rise. Where the decoder's do not, the container's are taken, else the same ones in order."""
    if len(pts) < 2 or bool(np.all(np.diff(pts) > 0)):
        return pts
    return expected if len(expected) == len(pts) else np.sort(pts)


def _usual_step(stamps: list[int]) -> float:
    """The usual interval in ticks: the mean of those around the median, as timestamps may be rounded (33, 34...)."""
    if len(stamps) < 2:
        return 1.0
    steps = np.diff(stamps)
    usual = float(np.median(steps))
    near = steps[np.abs(steps - usual) <= 0.5 * usual]
    return max(1.0, float(near.mean())) if len(near) else max(1.0, usual)


def _read_wanted_packets(
    source: InputContainer, stream: VideoStream, sink: Sink, scan: _Scan, announced: int, *, indices_hold: bool
) -> tuple[Media, Pts]:
    """Take the timestamps from the packets, and decode only those that are wanted.

    A wanted packet that does not decode means that others may not either, so every frame is decoded to count them
    (`_NeedsDecoding`); not where indices were given out by packets already (`indices_hold`): then it is not taken.
    """
    pts = _seconds(scan.stamps, stream.time_base)
    sink.plan(pts)
    mjpeg, size = stream.codec_context.name == "mjpeg", (stream.codec_context.width, stream.codec_context.height)
    picture, index = _Converter(), 0
    for packet in _packets(source, stream):
        if not packet.size or packet.is_discard or (mjpeg and not _starts_picture(packet)):
            continue
        if index >= len(pts):
            raise _NeedsDecoding
        if sink.wants(index, float(pts[index])):
            taken = _picture_of_packet(packet, picture, size if mjpeg else None)
            if taken is None and not indices_hold:
                raise _NeedsDecoding
            if taken is not None:
                sink.take(index, float(pts[index]), *taken)
            if sink.done:
                break
        index += 1
    media = _media(source, stream, picture.turned, announced, pts)
    check_complete(media)
    return media, pts


def _picture_of_packet(
    packet: Packet[VideoStream], picture: _Converter, jpeg_size_px: tuple[int, int] | None
) -> tuple[Image, tuple[bytes, MediaType] | None] | None:
    """Pixels, and the packet where it is a JPEG to be stored as it is; None where it does not decode."""
    try:
        frames: list[Any] = list(packet.decode())
    except (av.FFmpegError, ValueError):
        return None
    if len(frames) != 1 or frames[0].is_corrupt:
        return None
    if jpeg_size_px is not None and not frames[0].rotation:
        data = bytes(packet)
        kept = kept_jpeg(data, jpeg_size_px)
        if kept is not None:
            return kept[0], (kept[1], "image/jpeg")
    return picture.of(frames[0]), None


class _Converter:
    """Decoded frames to pixels. Keeps what the conversion needs between frames; notices turned recordings."""

    def __init__(self) -> None:
        self._reformatter = VideoReformatter()
        self.turned = False

    def of(self, frame: VideoFrame) -> Image:
        """[h, w, 3] BGR, uint8."""
        converted = self._reformatter.reformat(frame, format="bgr24", threads=1)
        image = np.asarray(converted.to_ndarray(), dtype=np.uint8)
        turn = _TURNS.get(round(frame.rotation))
        self.turned = turn in (cv2.ROTATE_90_CLOCKWISE, cv2.ROTATE_90_COUNTERCLOCKWISE)
        return image if turn is None else np.asarray(cv2.rotate(image, turn), dtype=np.uint8)


def _media(source: InputContainer, stream: VideoStream, turned: bool, announced: int, pts: Pts) -> Media:
    context = stream.codec_context
    size = (context.height, context.width) if turned else (context.width, context.height)
    stated_hz = float(stream.average_rate) if stream.average_rate else None
    rate = mean_rate(pts, stated_hz=stated_hz, lost=announced - len(pts))
    return Media(
        container=source.format.name.split(",")[0],
        codec=context.name,
        width_px=size[0],
        height_px=size[1],
        fps_hz=rate.fps_hz,
        variable_frame_rate=rate.variable,
        duration_s=rate.duration_s,
        frames_announced=max(announced, len(pts)),
        frames_decoded=len(pts),
    )
