"""What a TIFF says its pages mean: OME-XML, ImageJ, Micro-Manager, tifffile's own note, and a few vendors.

A recording has one axis beside height and width: frames over time (or planes over depth). Channels are no frames. Of a
file that is one part of a recording, this says which, and what is missing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from xml.etree.ElementTree import Element

import tifffile
from defusedxml import ElementTree
from defusedxml.common import DefusedXmlException

from tasks.errors import UnreadableRecording
from tasks.ingest.tiff_pages import Directory

_CHANNELS = "C"
_SHOWN_NAMES = 5


@dataclass(frozen=True)
class Order:
    """The frames of a TIFF.

    Attributes:
        pages: Their places in the chain of pages, in the order of the frames.
        announced: How many there ought to be.
    """

    pages: tuple[int, ...]
    announced: int


def order_of(tiff: tifffile.TiffFile, frames: Sequence[Directory]) -> Order:
    """Which page is which frame.

    Args:
        tiff: The file, open.
        frames: Its pages that are frames.

    Raises:
        UnreadableRecording: It has several axes, channels or pictures, or is one part of several.
    """
    chain = tuple(page.index for page in frames)
    first = tiff.pages.first
    if tiff.is_ome:
        return _by_ome(first.description, chain, max(1, frames[0].samples))
    if tiff.is_ndtiff:
        raise UnreadableRecording(
            "this is a file of an NDTiff data set, whose index lies beside it", fix="export it as a TIFF stack"
        )
    if tiff.is_micromanager:
        check_micromanager(_quietly(lambda: tiff.micromanager_metadata), len(chain))
        return Order(chain, len(chain))
    if tiff.is_imagej:
        return Order(chain, max(len(chain), _planes_of_imagej(tiff.imagej_metadata or {}, first)))
    if tiff.is_stk:
        planes = int((_quietly(lambda: tiff.stk_metadata) or {}).get("NumberPlanes", 1))
        return Order(chain, max(len(chain), planes))
    return Order(chain, max(len(chain), _planes_of_series(tiff, frames)))


def _one_axis(axes: Mapping[str, int], *, found_in: str) -> int:
    """The length of the one axis that is longer than 1."""
    stacked = {axis: length for axis, length in axes.items() if length > 1}
    if len(stacked) > 1 or _CHANNELS in stacked:
        raise UnreadableRecording(
            f"{found_in} has several axes beside height and width, or channels",
            expected="one: frames over time",
            found=", ".join(f"{axis}={length}" for axis, length in stacked.items()),
            fix="export one channel and one plane",
        )
    return next(iter(stacked.values()), 1)


def _by_ome(text: str, chain: tuple[int, ...], samples: int) -> Order:
    try:
        root = ElementTree.fromstring(text.encode())
    except (ElementTree.ParseError, DefusedXmlException, ValueError, RecursionError) as error:
        raise UnreadableRecording("the OME-XML of the TIFF cannot be read", found=str(error)[:200]) from error
    beside = [one.get("MetadataFile", "") for one in root.iter() if _name(one) == "BinaryOnly"]
    if beside:
        raise _part("a part of an OME-TIFF recording", None, beside)
    own = root.get("UUID")
    pictures = [(one, _files(one)) for one in root.iter() if _name(one) == "Pixels"]
    names = {uuid: name for _, files in pictures for uuid, name in files}
    mine = [
        (one, files) for one, files in pictures if not files or own is None or any(uuid == own for uuid, _ in files)
    ]
    if own is None and len(names) > 1:
        raise _part(
            "one of several files of an OME-TIFF recording", None, [name or uuid for uuid, name in names.items()]
        )
    if not mine:
        raise _part("a part of an OME-TIFF recording", None, [name or uuid for uuid, name in names.items()])
    for _, files in mine:
        others = list(dict.fromkeys(name or uuid for uuid, name in files if uuid != own)) if own else []
        if others:
            position = [uuid for uuid, _ in dict.fromkeys(files)].index(own or "") + 1
            title = f"part {position} of {len(others) + 1} of an OME-TIFF recording"
            raise _part(title, names.get(own or ""), others)
    if len(mine) != 1:
        raise UnreadableRecording(
            f"the OME-TIFF holds {len(mine)} pictures (positions, series)", expected="one",
            found=", ".join(f"{one.get('SizeX')} x {one.get('SizeY')} px" for one, _ in mine[:_SHOWN_NAMES]),
            fix="export one of them a file",
        )  # fmt: skip
    return _ome_order(mine[0][0], chain, samples)


def _ome_order(pixels: Element, chain: tuple[int, ...], samples: int) -> Order:
    channels = _number(pixels.get("SizeC"), 1)
    if channels % samples == 0:  # the colours of RGB pages are channels, too
        channels //= samples
    axes = {"T": _number(pixels.get("SizeT"), 1), "Z": _number(pixels.get("SizeZ"), 1), _CHANNELS: channels}
    announced = _one_axis(axes, found_in="the OME-TIFF")
    axis = "T" if axes["T"] > 1 else "Z"
    placed: dict[int, int] = {}
    next_page = 0
    for block in (one for one in pixels if _name(one) == "TiffData"):
        page = _number(block.get("IFD"), next_page)
        frame = _number(block.get(f"First{axis}"), 0)
        many = 1 if block.get("IFD") is not None else max(1, announced - frame)
        for step in range(min(_number(block.get("PlaneCount"), many), announced)):
            placed[frame + step] = page + step
            next_page = page + step + 1
    if not placed:
        placed = dict(enumerate(chain))
    pages = tuple(placed[frame] for frame in sorted(placed) if frame < announced and placed[frame] in set(chain))
    if set(pages) != set(chain) or len(pages) != len(chain):
        raise UnreadableRecording(
            f"the TIFF has {len(chain)} pages of one size, of which its OME-XML names {len(set(pages))}",
            expected=f"each once, {announced} in all",
            fix="export it again",
        )
    return Order(pages, announced)


def _files(pixels: Element) -> list[tuple[str, str]]:
    """(UUID, file name) of each file that the picture's planes are in."""
    found = (uuid for block in pixels if _name(block) == "TiffData" for uuid in block if _name(uuid) == "UUID")
    return list(dict.fromkeys((uuid.text or "", uuid.get("FileName", "")) for uuid in found))


def _name(element: Element) -> str:
    return str(element.tag).rpartition("}")[2]


def _number(text: str | None, default: int) -> int:
    try:
        return default if text is None else min(max(int(text), 0), 2**31)
    except ValueError:
        return default


def _part(title: str, own: str | None, missing: Sequence[str]) -> UnreadableRecording:
    names = ", ".join(repr(name) for name in missing[:_SHOWN_NAMES])
    more = f" and {len(missing) - _SHOWN_NAMES} more" if len(missing) > _SHOWN_NAMES else ""
    return UnreadableRecording(
        f"this file is {title}" + (f" (it was saved as {own!r})" if own else ""),
        expected="the whole recording in one file",
        found=f"the rest is in {names}{more}",
        fix="open all parts together (Fiji: File > Import > Bio-Formats), and save them as one TIFF stack",
    )


def check_micromanager(metadata: Mapping[str, Any] | None, count: int) -> None:
    """A Micro-Manager file without OME-XML: what it planned, and which of that it holds."""
    if not metadata or "Summary" not in metadata:
        return
    summary = metadata["Summary"] if isinstance(metadata["Summary"], dict) else {}
    planned = {axis: _planned(summary, key) for axis, key in
               (("C", "Channels"), ("Z", "Slices"), ("T", "Frames"), ("R", "Positions"))}  # fmt: skip
    index = metadata.get("IndexMap")
    held = {axis: (0, max(1, length) - 1) for axis, length in planned.items()}
    if index is not None and len(index):
        held = {axis: (int(index[:, column].min()), int(index[:, column].max())) for column, axis in enumerate("CZTR")}
    _one_axis({axis: last - first + 1 for axis, (first, last) in held.items()}, found_in="the Micro-Manager file")
    axis = "T" if planned["T"] >= planned["Z"] else "Z"
    first = held[axis][0]
    if first > 0 or count < planned[axis]:
        title = {"T": "frames", "Z": "slices"}[axis]
        raise UnreadableRecording(
            f"this file is a part of a Micro-Manager recording, or that was stopped: it holds {title} {first} to"
            f" {first + count - 1} of {planned[axis]}",
            expected=f"all {planned[axis]} in one file",
            found=f"{count}; missing: {_missing(title, first, count, planned[axis])}",
            fix="open all parts together in Micro-Manager or Fiji, and save them as one TIFF stack",
        )


def _planned(summary: Mapping[str, Any], key: str) -> int:
    value = summary.get(key, 1)
    return int(value) if isinstance(value, int | float) and 0 < value < 2**31 else 1


def _missing(title: str, first: int, count: int, planned: int) -> str:
    before = [f"{title} 0 to {first - 1}"] if first else []
    after = [f"{title} {first + count} to {planned - 1}"] if first + count < planned else []
    return " and ".join(before + after)


def _planes_of_imagej(metadata: Mapping[str, Any], first: tifffile.TiffPage) -> int:
    def stated(key: str) -> int:
        value = metadata.get(key, 1)
        return int(value) if isinstance(value, int | float) and 0 < value < 2**31 else 1

    channels = stated("channels")
    if channels == first.samplesperpixel:  # the colours of RGB pages
        channels = 1
    planes = _one_axis(
        {"T": stated("frames"), "Z": stated("slices"), _CHANNELS: channels}, found_in="the ImageJ hyperstack"
    )
    return max(planes, stated("images"))


def _planes_of_series(tiff: tifffile.TiffFile, frames: Sequence[Directory]) -> int:
    """Frames by tifffile's other series: its own notes, Zeiss, Olympus, ... Pages that are in none count anyway."""
    series = _quietly(lambda: tiff.series) or []
    size = (frames[0].height, frames[0].width)
    planes = 0
    for one in series:
        if one.keyframe is None or (one.keyframe.imagelength, one.keyframe.imagewidth) != size:
            continue
        lengths: dict[str, int] = {}
        for number, (axis, length) in enumerate(zip(one.axes, one.shape, strict=True)):
            if axis not in "YXS":
                lengths[axis if axis == _CHANNELS else f"{axis}{number}"] = length
        planes += _one_axis(lengths, found_in="the TIFF")
    return planes


def _quietly(ask: Any) -> Any:
    """What tifffile makes of a vendor's notes; None where it stumbles over them."""
    try:
        return ask()
    except Exception:  # notes are free text and binary tables of many programs; the pages count without them
        return None
