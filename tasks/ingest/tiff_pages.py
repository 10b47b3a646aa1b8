"""The pages of a TIFF: which of them are the recording's frames, and what each looks like.

Every directory of the file is looked at before anything is decoded: tifffile's first "series" is not the file, and what
it leaves out, it leaves out silently. Pages are shown as any viewer shows them (colour table, ink), or refused.
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import BinaryIO, Literal

from tasks.errors import UnreadableRecording

WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, MASK, INK, YCBCR = 0, 1, 2, 3, 4, 5, 6
_TITLES = {
    8: "CIE L*a*b*", 9: "ICC L*a*b*", 10: "ITU L*a*b*", 32803: "raw sensor values (colour filter array)",
    32844: "LogL", 32845: "LogLuv", 34892: "linear raw sensor values", MASK: "a mask",
}  # fmt: skip
_REDUCED, _IS_MASK = 1, 4
_SIZES = {1: 1, 3: 2, 4: 4, 8: 2, 9: 4, 13: 4, 16: 8, 18: 8}
_MOST_SUBS = 64


@dataclass(frozen=True)
class Directory:
    """What a page states about itself. `index`: its place in the file's chain of pages."""

    index: int
    width: int
    height: int
    bits: int
    sample_format: int
    samples: int
    photometric: int
    compression: int
    subfile: int
    depth: int
    subs: tuple[tuple[int, int], ...] = field(default=())

    @property
    def white_is_zero(self) -> bool:
        """Whether large values are dark."""
        return self.photometric == WHITE_IS_ZERO

    @property
    def deep(self) -> bool:
        """Whether its values must be stretched to 8 bits."""
        return self.bits > 8 or self.sample_format != 1

    @property
    def bytes_per_px(self) -> float:
        """In memory, decoded."""
        return self.samples * max(1, self.bits / 8)


def directories(file: BinaryIO, size: int, most: int) -> list[Directory]:
    """Every directory of the file's chain of pages, to its end: it breaks where the file was cut.

    Args:
        file: The TIFF.
        size: Its length in bytes.
        most: More pages than this are not followed.

    Raises:
        UnreadableRecording: The chain leads out of the file, or in circles, or is too long.
    """
    file.seek(0)
    head = file.read(16)
    reader = _Reader(file, size, "<" if head[:2] == b"II" else ">", head[2:4] in (b"+\0", b"\0+"))
    order: Literal["little", "big"] = "little" if head[:2] == b"II" else "big"
    offset = int.from_bytes(head[8:16] if reader.big else head[4:8], order)
    found: list[Directory] = []
    seen: set[int] = set()
    while offset:
        if offset in seen or offset + reader.count_bytes > size:
            raise UnreadableRecording(
                f"the TIFF is cut short or damaged after {len(found)} pages",
                fix="copy it again from where it was recorded",
            )
        if len(found) >= most:
            raise UnreadableRecording(
                f"the TIFF has more than {most} pages",
                fix="split it, or raise NIGHTSCOPE_INGEST__PICTURES",
            )
        seen.add(offset)
        tags, offset = reader.tags(offset)
        found.append(reader.directory(len(found), tags))
    return found


_Tag = tuple[int, int, bytes]


class _Reader:
    def __init__(self, file: BinaryIO, size: int, order: str, big: bool) -> None:
        self._file, self._size, self._order, self.big = file, size, order, big
        self.count_bytes, self._entry, self._offset = (8, order + "HHQ8s", "Q") if big else (2, order + "HHI4s", "I")

    def tags(self, offset: int) -> tuple[dict[int, _Tag], int]:
        """A directory's tags (type, count, value or its address), and where the next directory is."""
        self._file.seek(offset)
        count = self._number(self._file.read(self.count_bytes))
        length, step = struct.calcsize(self._entry) * count, struct.calcsize(self._offset)
        data = self._file.read(length + step) if length < self._size else b""
        if len(data) < length + step:
            return {}, self._size  # out of the file: the next look says so
        entries = struct.iter_unpack(self._entry, data[:length])
        return {tag: (kind, number, value) for tag, kind, number, value in entries}, self._number(data[length:])

    def directory(self, index: int, tags: dict[int, _Tag]) -> Directory:
        bits = self._values(tags, 258, 1)
        formats = self._values(tags, 339, 1)
        old = self._first(tags, 255, 0)  # 2: reduced resolution, in files before 1992
        return Directory(
            index=index,
            width=self._first(tags, 256, 0),
            height=self._first(tags, 257, 0),
            bits=max(bits),
            sample_format=max(formats) if max(formats) != 4 else 1,
            samples=self._first(tags, 277, 1),
            photometric=self._first(tags, 262, BLACK_IS_ZERO),
            compression=self._first(tags, 259, 1),
            subfile=self._first(tags, 254, _REDUCED if old == 2 else 0),
            depth=self._first(tags, 32997, 1),
            subs=tuple(self._sub(offset) for offset in self._values(tags, 330, 0) if offset),
        )

    def _sub(self, offset: int) -> tuple[int, int]:
        if offset + self.count_bytes > self._size:
            return 0, 0
        tags, _ = self.tags(offset)
        return self._first(tags, 256, 0), self._first(tags, 257, 0)

    def _first(self, tags: dict[int, _Tag], tag: int, default: int) -> int:
        return self._values(tags, tag, default)[0]

    def _values(self, tags: dict[int, _Tag], tag: int, default: int) -> tuple[int, ...]:
        kind, count, value = tags.get(tag, (0, 0, b""))
        width = _SIZES.get(kind, 0)
        count = min(count, _MOST_SUBS)
        if not width or not count:
            return (default,)
        if width * count > len(value):
            self._file.seek(self._number(value))
            value = self._file.read(width * count)
        if len(value) < width * count:
            return (default,)
        return tuple(self._number(value[at : at + width]) for at in range(0, width * count, width))

    def _number(self, data: bytes) -> int:
        return int.from_bytes(data, "little" if self._order == "<" else "big")


def frames_of(found: Sequence[Directory]) -> list[Directory]:
    """The pages that are frames: all of the file's size and kind. Thumbnails that are marked as such are left out.

    Raises:
        UnreadableRecording: There are pages of several kinds, and nothing says which of them are the recording.
    """
    if not found:
        raise UnreadableRecording("the TIFF has 0 pages", fix="export it again")
    if any(page.subfile & _IS_MASK or page.photometric == MASK for page in found):
        raise UnreadableRecording("some pages of the TIFF are masks of others", fix="export plain pictures")
    whole = [page for page in found if page.width and page.height]
    full = [page for page in whole if not page.subfile & _REDUCED] or whole
    if not full:
        raise UnreadableRecording("no page of the TIFF states its size", fix="export it again")
    sizes = Counter((page.width, page.height) for page in full)
    if len(sizes) > 1:
        raise UnreadableRecording(
            "the TIFF has pages of several sizes",
            expected="pages of one size; thumbnails marked as such (reduced resolution) may lie between them",
            found=", ".join(f"{count} of {width} x {height} px" for (width, height), count in sizes.most_common(5)),
            fix="export the pages of the recording alone",
        )
    page = full[0]
    area = page.width * page.height
    frames = {one.index for one in full}
    smaller = [one.width * one.height for one in whole if one.index not in frames]
    within = [width * height for one in full for width, height in one.subs]
    if any(other >= area for other in smaller + within):
        raise UnreadableRecording(
            f"the TIFF's pages are {page.width} x {page.height} px, and behind them are pictures as large or larger",
            fix="export the recording as a plain TIFF stack",
        )
    _check_kinds(full)
    broken = [one for one in found if not (one.width and one.height)]
    return sorted([*full, *broken], key=lambda one: one.index)


def _check_kinds(full: Sequence[Directory]) -> None:
    kinds = Counter(_kind(page) for page in full)
    if len(kinds) > 1:
        raise UnreadableRecording(
            "the TIFF mixes pages of several kinds",
            expected="the same depth and colours on all pages",
            found=", ".join(f"{count} of {kind}" for kind, count in kinds.most_common(5)),
            fix="export them as separate recordings",
        )
    page = full[0]
    photometrics = {one.photometric for one in full}
    for photometric in sorted(photometrics):
        if photometric not in (WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, INK, YCBCR):
            found = _TITLES.get(photometric, f"photometric interpretation {photometric}")
            raise UnreadableRecording(
                "the TIFF's values are no grey or colours that can be shown as they are", found=found,
                fix="export it as grey or RGB",
            )  # fmt: skip
    if page.deep and photometrics & {INK, YCBCR}:
        raise UnreadableRecording("the TIFF holds ink or YCbCr of more than 8 bits", fix="export it as grey or RGB")
    if page.sample_format not in (1, 2, 3):
        raise UnreadableRecording("the TIFF holds complex numbers, or of an unknown kind", fix="export their magnitude")
    if page.depth > 1:
        raise UnreadableRecording(
            f"each page of the TIFF is a volume of {page.depth} planes", fix="export one plane a page"
        )
    grey = photometrics & {WHITE_IS_ZERO, BLACK_IS_ZERO, PALETTE}
    if grey and page.samples > 2:
        raise UnreadableRecording(
            f"each page of the TIFF holds {page.samples} channels", expected="grey, or red, green and blue",
            fix="export one channel",
        )  # fmt: skip


def _kind(page: Directory) -> str:
    sample = {1: "whole", 2: "signed", 3: "floating-point"}.get(page.sample_format, "complex or unknown")
    zero = ", white is zero" if page.white_is_zero and page.deep else ""
    return f"{page.samples} x {page.bits} bits ({sample} numbers{zero})"
