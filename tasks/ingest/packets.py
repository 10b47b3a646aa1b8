"""A video's container, read without decoding: how many frames there ought to be, when, and what decoding them takes.

That costs a hundredth of decoding.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import av
import numpy as np

from tasks.config import IngestLimits
from tasks.errors import UnreadableRecording
from tasks.ingest.avi import slots_in
from tasks.ingest.codecs import STAND_ALONE, coded_pictures, jpeg_of
from tasks.ingest.formats import Format
from tasks.ingest.sampling import Pts

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.packet import Packet, PktSideDataT
    from av.video.stream import VideoStream

_DEMUXERS = {Format.MP4: "mov", Format.AVI: "avi", Format.MATROSKA: "matroska"}
_STATE: tuple[PktSideDataT, ...] = ("palette", "new_extradata", "param_change")
"""Side data of a packet that changes how the packets behind it decode."""


@dataclass
class Scan:
    """What the packets say.

    Attributes:
        stamps: Presentation times of the pictures in their order, rising, in units of the time base.
        by_order: Whether the i-th picture has the i-th stamp, whatever the decoder says: its own would not rise.
        stand_alone: Whether any packet decodes without the others.
        empty: Packets without a picture of their own, which are no lost frames.
        damaged: Packets that cannot be a picture.
        discarded: Packets that an edit list cuts away.
        slots: AVI: time slots up to the last packet.
        end: When the last picture ends.
    """

    stamps: list[float] = field(default_factory=list)
    by_order: bool = False
    stand_alone: bool = False
    empty: int = 0
    damaged: int = 0
    discarded: int = 0
    slots: int = 0
    end: int = 0


@contextmanager
def opened(path: Path, container: Format, limits: IngestLimits) -> Iterator[tuple[InputContainer, VideoStream]]:
    """Open a video by the one demuxer that its suffix promises; its first track that is no cover picture.

    Raises:
        UnreadableRecording: It cannot be opened, has no video, or claims frames too large to decode.
    """
    # `file:` keeps a name such as "a:b.mp4" a path; the whitelist keeps the demuxer from opening anything else. No
    # decoder may make room for more pixels, whatever a packet in the middle of the file claims.
    most = int(limits.picture_mpx * 1e6)
    options = {"protocol_whitelist": "file", "max_pixels": str(most)}
    try:
        # Titles and comments may be in any encoding; we do not read them.
        source = av.open(f"file:{path}", format=_DEMUXERS[container], options=options, metadata_errors="replace")
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
        width, height = stream.codec_context.width, stream.codec_context.height
        if not 0 < width * height <= most:  # nothing is what the decoder makes of too much
            claim = f"frames of {width} x {height} px" if width * height else "frames of no size, or too large a one"
            raise UnreadableRecording(
                f"the header claims {claim}",
                expected=f"at most {limits.picture_mpx:g} million pixels",
                fix="export it again, or raise NIGHTSCOPE_INGEST__PICTURE_MPX",
            )
        stream.thread_type = "NONE"  # recordings are decoded side by side; threads within one gain nothing
        stream.codec_context.thread_count = 1
        stream.codec_context.options = {"max_pixels": str(most)}
        yield source, stream


def check_whole(stream: VideoStream, found: Scan, limits: IngestLimits) -> None:
    """Look at what all frames together are.

    Raises:
        UnreadableRecording: More than the limits allow.
    """
    pixels = stream.codec_context.width * stream.codec_context.height * len(found.stamps)
    if pixels > limits.recording_gpx * 1e9:
        raise UnreadableRecording(
            f"its frames have {pixels / 1e9:.0f} thousand million pixels together",
            expected=f"at most {limits.recording_gpx:g}",
            fix="split the recording, or raise NIGHTSCOPE_INGEST__RECORDING_GPX",
        )


def _is_cover_picture(stream: VideoStream) -> bool:
    return bool(stream.disposition & av.stream.Disposition.attached_pic)


def _plain(error: Exception) -> str:
    return (getattr(error, "strerror", None) or str(error) or type(error).__name__).lower()


def packets_of(source: InputContainer, stream: VideoStream) -> Iterator[Packet[VideoStream]]:
    """All packets of the stream, the closing empty one included; a container that breaks off just ends.

    Other empty packets are left out: a decoder would take the first for the end.
    """
    packets = source.demux(stream)
    failures = 0
    while failures < 100:
        try:
            packet = next(packets)
        except StopIteration:
            return
        except av.FFmpegError:
            failures += 1
            packets = source.demux(stream)
        else:
            failures = 0
            if packet.size or (packet.dts is None and packet.pts is None):
                yield packet


def scan(source: InputContainer, stream: VideoStream, container: Format) -> Scan:
    """Read all packets, and decode none."""
    found, context = Scan(), stream.codec_context
    name, is_avi = context.name, container is Format.AVI
    macroblocks = -(-context.width // 16) * -(-context.height // 16)
    found.stand_alone = name in STAND_ALONE and context.pix_fmt != "pal8"
    stamps, previous, packed, with_huffman = [], -1, 0, set[bool]()
    for packet in packets_of(source, stream):
        if not packet.size:  # the closing packet
            continue
        if packet.is_discard:  # cut away by an edit list: nobody ever sees these
            found.discarded += 1
            continue
        # AVI has no presentation times: its packets come at the frame rate, and what is reported as pts is a guess.
        stamp = packet.dts if is_avi or packet.pts is None else packet.pts
        found.by_order |= stamp is None or (is_avi and packet.pts not in (None, packet.dts))
        stamp = previous + 1 if stamp is None else stamp
        previous, found.slots = stamp, max(found.slots, stamp + 1)
        if found.stand_alone and any(packet.has_sidedata(kind) for kind in _STATE):
            found.stand_alone = False
        data, pictures = memoryview(packet), 1
        if name == "mjpeg":
            jpeg = jpeg_of(data)
            found.stand_alone &= jpeg.complete
            if not jpeg.begins:
                found.damaged += 1
                continue
            with_huffman.add(jpeg.huffman)
            pictures = int(not jpeg.tables_only)
        else:
            pictures = coded_pictures(name, data, macroblocks)
        packed += pictures - 1
        if not pictures and packed < 0:
            packed, found.empty = 0, found.empty + 1
            continue
        found.end = max(found.end, stamp + (packet.duration or 0))
        stamps.append(stamp)
    found.stand_alone &= len(with_huffman) < 2  # those without would be decoded by an earlier packet's tables
    found.by_order |= len(set(stamps)) < len(stamps)
    found.stamps = _rising(sorted(stamps))
    return found


def _rising(stamps: list[int]) -> list[float]:
    """Pictures of the same time spread up to the next: containers round (Matroska to milliseconds), cameras do not."""
    moments, counts = np.unique(np.asarray(stamps, dtype=np.int64), return_counts=True)
    if len(moments) == len(stamps):
        return list[float](stamps)
    gaps = np.diff(moments, append=moments[-1] + (moments[-1] - moments[-2] if len(moments) > 1 else 1))
    return [
        int(at) + int(gap) * number / int(count)
        for at, gap, count in zip(moments, gaps, counts, strict=True)
        for number in range(count)
    ]


def announced_frames(path: Path, source: InputContainer, stream: VideoStream, found: Scan) -> int:
    """How many frames there ought to be.

    MP4 counts them in its index, of which edit lists may show a part. AVI counts time slots, of which those without a
    picture of their own are no loss. Matroska only states how long it is. Where its packets end earlier, the missing
    time is counted at the rate of the part that is there.
    """
    frames = len(found.stamps) + found.damaged
    if "avi" in source.format.name and stream.frames:
        slots = found.slots if stream.frames <= found.slots else max(found.slots, slots_in(path, stream.index))
        return frames + max(0, math.floor((stream.frames - slots) / usual_step(found.stamps) + 1e-6))
    if stream.frames:
        indexed = len(stream.index_entries) or stream.frames  # what edit lists leave of the header's count
        return max(indexed - found.discarded - found.empty, frames)
    stated_s = _stated_duration_s(source, stream)
    if not found.stamps or found.stamps[-1] - found.stamps[0] < 1 or stated_s is None or stream.time_base is None:
        return frames
    start, step_s = min(found.stamps[0], 0), usual_step(found.stamps) * float(stream.time_base)
    missing_s = stated_s - float((found.end - start) * stream.time_base)
    return frames + (round(missing_s / step_s) if missing_s > 1.5 * step_s else 0)


def _stated_duration_s(source: InputContainer, stream: VideoStream) -> float | None:
    if "matroska" not in source.format.name:
        return None
    with suppress(KeyError, ValueError, OverflowError):
        hours, minutes, seconds = stream.metadata["DURATION"].split(":")
        stated = int(hours) * 3600 + int(minutes) * 60 + float(seconds)
        return stated if math.isfinite(stated) else None
    # The file's duration may be that of a longer sound track.
    return source.duration / av.time_base if source.duration and len(source.streams) == 1 else None


def seconds(stamps: Sequence[float], time_base: Fraction | None) -> Pts:
    """Stamps in seconds; NaN without a time base."""
    if time_base is None:
        return np.full(len(stamps), np.nan)
    return np.asarray(stamps, dtype=np.float64) * time_base.numerator / time_base.denominator


def usual_step(stamps: Sequence[float]) -> float:
    """The usual interval in ticks: the mean of those around the median, as timestamps may be rounded (33, 34...)."""
    if len(stamps) < 2:
        return 1.0
    steps = np.diff(stamps)
    usual = float(np.median(steps))
    near = steps[np.abs(steps - usual) <= 0.5 * usual]
    return float(near.mean()) if len(near) and near.mean() > 0 else max(1.0, usual)
