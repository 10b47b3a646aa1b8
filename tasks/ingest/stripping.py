"""Picture files without what is no picture: place, camera, names, thumbnails, comments, whatever lies behind the end.

What a browser needs to show the same pixels in the same colours stays, byte for byte: nothing is decoded or compressed
again. Colour profiles go as well, since they carry texts and serial numbers; `tasks.ingest.colour` says when that would
change what is shown. Of PNG, the small numbers that say how bright and which primaries (gAMA, cHRM, sRGB, cICP) stay.
"""

from __future__ import annotations

import re
import struct
import zlib
from dataclasses import dataclass
from functools import lru_cache

_FRAMES = {0xC0, 0xC1, 0xC2}
_TABLES = {0xC4, 0xDB, 0xDD}  # Huffman, quantisation, restart interval
_OTHER_FRAMES = {0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF, 0xDC}
_SCAN, _END, _HUFFMAN, _APP0, _EXIF, _ICC, _ADOBE = 0xDA, 0xD9, 0xC4, 0xE0, 0xE1, 0xE2, 0xEE
_NEXT_MARKER = re.compile(rb"\xff+[^\x00\xd0-\xd7\xff]", re.DOTALL)  # inside a scan, others belong to it
_PNG = b"\x89PNG\r\n\x1a\n"
_PNG_KEPT = {b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"gAMA", b"cHRM", b"sRGB", b"cICP"}
_MOST_ICC_BYTES = 2**22


@dataclass(frozen=True)
class Plain:
    """A picture file that holds nothing but the picture.

    Attributes:
        data: The file, stripped.
        width_px: As it states.
        height_px: As it states.
        channels: Of colour, without opacity: 1, 3, or 4 (ink).
        browsable: Whether any browser shows it.
        transparent: Whether it may be transparent somewhere.
        key_colour: Whether one colour stands for transparent.
        animated: Whether it holds several pictures.
        had_exif: Whether the original may ask to be turned.
        profile: The colour profile that the original has.
    """

    data: bytes
    width_px: int
    height_px: int
    channels: int
    browsable: bool
    transparent: bool = False
    key_colour: bool = False
    animated: bool = False
    had_exif: bool = False
    profile: bytes | None = None


@lru_cache(maxsize=1)  # asked for the same picture's size, then for the picture
def stripped(data: bytes) -> Plain | None:
    """A JPEG or PNG, stripped; None where it is neither, or is not whole."""
    if data[:2] == b"\xff\xd8":
        return _jpeg(data)
    return _png(data) if data[:8] == _PNG else None


def _jpeg(data: bytes) -> Plain | None:
    kept, position = [data[:2]], 2
    size, channels, bits, tables, exif = (0, 0), 0, 8, False, False
    profile: dict[int, bytes] = {}
    while position + 2 <= len(data) and data[position] == 0xFF:
        marker = data[position + 1]
        if marker == 0xFF:  # a fill byte
            position += 1
            continue
        if marker == _END:
            if not size[0]:
                return None
            return Plain(
                b"".join([*kept, b"\xff\xd9"]), *size, channels, tables and bits == 8 and channels in (1, 3),
                had_exif=exif, profile=b"".join(profile[key] for key in sorted(profile)) or None,
            )  # fmt: skip
        length = int.from_bytes(data[position + 2 : position + 4], "big")
        end = position + 2 + length
        if length < 2 or end > len(data) or marker in _OTHER_FRAMES:
            return None
        segment, body = data[position:end], data[position + 4 : end]
        if marker in _FRAMES and len(body) >= 6:
            size, channels, bits = struct.unpack(">HH", body[1:5])[::-1], body[5], body[0]
        elif marker == _EXIF:
            exif |= body.startswith(b"Exif\0")
        elif marker == _ICC and body.startswith(b"ICC_PROFILE\0") and len(body) > 14:
            profile[body[12]] = body[14:]
        tables |= marker == _HUFFMAN
        if marker in _FRAMES | _TABLES:
            kept.append(segment)
        elif marker == _APP0 and body.startswith(b"JFIF\0") and len(body) >= 14:
            kept.append(b"\xff\xe0\0\x10" + body[:12] + b"\0\0")  # without its thumbnail
        elif marker == _ADOBE and body.startswith(b"Adobe") and len(body) >= 12:
            kept.append(b"\xff\xee\0\x0e" + body[:12])  # says which colours these are
        elif marker == _SCAN:
            after = _NEXT_MARKER.search(data, end)
            if after is None:
                return None
            kept += [segment, data[end : after.start()]]
            end = after.end() - 2
        position = end
    return None


def _png(data: bytes) -> Plain | None:
    kept, position, header, names = [_PNG], 8, b"", set[bytes]()
    profile: bytes | None = None
    while position + 12 <= len(data):
        length, name = struct.unpack(">I4s", data[position : position + 8])
        end = position + 12 + length
        if end > len(data):
            return None
        body = data[position + 8 : end - 4]
        if zlib.crc32(data[position + 4 : end - 4]) != int.from_bytes(data[end - 4 : end], "big"):
            return None
        names.add(name)
        if name == b"IHDR":
            header = body
        elif name == b"iCCP":
            profile = _inflated(body.partition(b"\0")[2][1:])
        if name in _PNG_KEPT:
            kept.append(data[position:end])
        position = end
        if name == b"IEND":
            break
    if b"IEND" not in names or len(header) != 13 or b"IDAT" not in names:
        return None
    width, height, bits, colour = struct.unpack(">IIBB", header[:10])
    if profile is not None:  # it overruled these
        kept = [chunk for chunk in kept if chunk[4:8] not in (b"gAMA", b"cHRM", b"sRGB")]
    transparent = colour in (4, 6) or b"tRNS" in names
    return Plain(
        b"".join(kept), width, height, 1 if colour in (0, 4) else 3, bits == 8 and colour in (0, 2) and not transparent,
        transparent, b"tRNS" in names, b"acTL" in names, b"eXIf" in names, profile,
    )  # fmt: skip


def _inflated(data: bytes) -> bytes:
    try:
        return zlib.decompressobj().decompress(data, _MOST_ICC_BYTES)
    except zlib.error:
        return b"?"
