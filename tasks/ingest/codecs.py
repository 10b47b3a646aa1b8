"""What single packets of a codec say before anything is decoded: how many pictures, and whether they stand alone."""

from __future__ import annotations

from dataclasses import dataclass

STAND_ALONE = {
    "mjpeg", "rawvideo", "prores", "huffyuv", "ffvhuff", "utvideo", "magicyuv", "dnxhd", "dvvideo", "jpeg2000", "v210",
}  # fmt: skip
"""Codecs whose packet is a picture that needs no other packet, given what the container's header says.

FFmpeg's own mark (`intra_only`) says that every packet is a key frame, not that the decoder remembers nothing: Fraps
and LCL repeat the last picture, MSCC draws on it, and 8BPS takes its palette from the first packet. Hence a list of
those that microscopes' software writes, each tried by the tests; all others are decoded from the beginning.
"""

_PICTURE_START, _NOT_CODED_BYTES = b"\x00\x00\x01\xb6", 5


@dataclass(frozen=True)
class Jpeg:
    """What the headers of an MJPEG packet say.

    Attributes:
        begins: Whether it begins as a JPEG.
        tables_only: Whether it holds tables for the pictures behind it, and no picture.
        complete: Whether it is a picture and all tables it uses are its own; a picture without any Huffman table uses
            the standard's.
        huffman: Whether it brings Huffman tables.
    """

    begins: bool = True
    tables_only: bool = False
    complete: bool = False
    huffman: bool = False


def jpeg_of(data: memoryview) -> Jpeg:
    """Read a packet's JPEG headers up to the first scan.

    QuickTime and others allow abbreviated pictures, whose tables came with an earlier packet: decoding such a packet
    by itself gives a picture, and a false one.
    """
    if bytes(data[:2]) != b"\xff\xd8":
        return Jpeg(begins=False)
    at, framed = 2, False
    quantisers, huffmans, wanted = set[int](), set[int](), set[int]()
    while at + 2 <= len(data) and data[at] == 0xFF:
        marker, start = data[at + 1], at + 4
        if marker == 0xD9:
            return Jpeg(tables_only=True, huffman=bool(huffmans))
        if marker == 0xFF:  # a fill byte
            at += 1
            continue
        end = at + 2 + int.from_bytes(data[at + 2 : start], "big")
        body = bytes(data[start:end])
        if marker == 0xDB:
            quantisers |= _quantisers(body)
        elif marker == 0xC4:
            huffmans |= _huffmans(body)
        elif 0xC0 <= marker <= 0xCF and marker not in (0xC8, 0xCC):
            framed, wanted = True, set(body[8::3])
        elif marker == 0xDA:
            codes = set[int]() if not huffmans else _codes_of_scan(body)
            complete = framed and wanted <= quantisers and codes <= huffmans
            return Jpeg(complete=complete, huffman=bool(huffmans))
        at = end
    return Jpeg()


def _quantisers(body: bytes) -> set[int]:
    found, at = set[int](), 0
    while at < len(body):
        found.add(body[at] & 15)
        at += 129 if body[at] >> 4 else 65
    return found


def _huffmans(body: bytes) -> set[int]:
    found, at = set[int](), 0
    while at + 17 <= len(body):
        found.add(body[at])
        at += 17 + sum(body[at + 1 : at + 17])
    return found


def _codes_of_scan(body: bytes) -> set[int]:
    """Tables (class and number, as in their definition) that a scan uses; a progressive one's first holds only DC."""
    if not body:
        return set()
    chosen = body[2 : 1 + 2 * body[0] : 2]
    only_dc = len(body) >= 3 and body[-2] == 0
    return {choice >> 4 for choice in chosen} | (set() if only_dc else {0x10 | choice & 15 for choice in chosen})


def coded_pictures(codec: str, data: memoryview, macroblocks: int) -> int:
    """How many pictures a packet holds that are shown; other packets are no lost frames when nothing comes out of them.

    MPEG-4 writers mark a frame that a camera dropped by a picture that is not coded ("N-VOP"), and pack a B-frame
    together with the picture before it. VP8 hides pictures that later ones refer to.

    Args:
        codec: The decoder's name.
        data: The packet.
        macroblocks: Of a picture, 16 x 16 px each.
    """
    if codec == "vp8":
        return data[0] >> 4 & 1
    if codec != "mpeg4" or macroblocks < 32:  # of such small pictures, a coded one can be as short
        return 1
    parts = bytes(data).split(_PICTURE_START)[1:]
    return sum(len(part) > _NOT_CODED_BYTES for part in parts) if parts else 1
