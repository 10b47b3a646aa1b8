"""What a file claims to be by its suffix, and whether its first bytes agree.

The claim decides which demuxer or decoder gets to see the file; nothing is ever "probed": a play list or a session
description named `.mp4` must not make a decoder open other files or addresses.
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path

from tasks.errors import UnreadableRecording
from tasks.ingest.names import split_suffix
from tasks.schemas import Recording

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")
"""What a folder of images may hold."""
STILL_SUFFIXES = (*IMAGE_SUFFIXES, ".webp")
"""What a picture that is a sample of its own may be."""


class Format(StrEnum):
    """A recording's container, as its suffix promises it."""

    MP4 = "mp4"  # QuickTime's .mov is the same container
    AVI = "avi"
    MATROSKA = "matroska"
    TIFF = "tiff"
    IMAGES = "images"
    STILLS = "stills"  # many pictures, each a sample of its own
    STILL = "still"  # one of them


SUFFIXES = {
    ".mp4": Format.MP4,
    ".mov": Format.MP4,
    ".avi": Format.AVI,
    ".mkv": Format.MATROSKA,
    ".tif": Format.TIFF,
    ".tiff": Format.TIFF,
    ".frames.zip": Format.IMAGES,
    ".stills.zip": Format.STILLS,
}
_TITLES = {
    Format.MP4: "an MP4/QuickTime video",
    Format.AVI: "an AVI video",
    Format.MATROSKA: "a Matroska video",
    Format.TIFF: "a TIFF image",
    Format.IMAGES: "a packed folder of images (ZIP)",
    Format.STILLS: "a batch of stills (ZIP)",
    Format.STILL: "a PNG, JPEG, BMP, TIFF or WebP picture",
}
_MP4_BOXES = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot", b"styp", b"uuid")
_OTHERS = {
    b"\x89PNG": "a PNG image",
    b"\xff\xd8\xff": "a JPEG image",
    b"BM": "a BMP image",
    b"%PDF": "a PDF document",
    b"\x1f\x8b": "a gzip archive",
    b"7z\xbc\xaf": "a 7z archive",
    b"\x7fELF": "a program",
    b"MZ": "a program",
    b"0&\xb2u": "a Windows Media video",
    b"FLV": "a Flash video",
    b"\x00\x00\x01\xba": "an MPEG program stream",
    b"\x00\x00\x01\xb3": "an MPEG video stream",
}


def format_of(name: str) -> Format | None:
    """The format that a file's suffix promises; None for suffixes that are no recording's."""
    return SUFFIXES.get(split_suffix(name)[1].lower())


def format_of_recording(recording: Recording) -> Format | None:
    """The format of a recording of the lake. A still is known by its container: its suffix is no recording's."""
    return Format.STILL if recording.is_still else format_of(recording.name)


def supported() -> str:
    """The suffixes, for messages."""
    return ", ".join(suffix for suffix in SUFFIXES if not suffix.endswith(".zip")) + ", or a folder of images"


def check_content(path: Path, claimed: Format) -> None:
    """Look whether a file's first bytes fit its suffix, before any decoder sees them.

    Raises:
        UnreadableRecording: Empty, of another kind than it claims, or an MP4 without its index.
    """
    with path.open("rb") as file:
        head = file.read(4096)
    if not head:
        raise UnreadableRecording("the file is empty (0 bytes)", fix="copy it again from where it was recorded")
    found = _format_of_content(head)
    if claimed is Format.STILL and is_picture(head):
        return
    if claimed is Format.STILLS and found is Format.IMAGES:  # both are ZIP files
        return
    if found is not claimed:
        content = _TITLES[found] if found else _describe(head)
        raise UnreadableRecording(
            "the content is not what the file's suffix says",
            expected=_TITLES[claimed],
            found=content,
            fix="export the recording again, or give the file its true suffix",
        )
    if claimed is Format.MP4:
        _check_boxes(path)


def _format_of_content(head: bytes) -> Format | None:
    if head[4:8] in _MP4_BOXES:
        return Format.MP4
    if head[:4] == b"RIFF" and head[8:12] == b"AVI ":
        return Format.AVI
    if head[:4] == b"\x1a\x45\xdf\xa3":
        return Format.MATROSKA
    if head[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return Format.TIFF
    return Format.IMAGES if head[:4] in (b"PK\x03\x04", b"PK\x05\x06") else None


def is_picture(head: bytes) -> bool:
    """Whether a file's first bytes are those of a PNG, JPEG, BMP, TIFF or WebP."""
    webp = head[:4] == b"RIFF" and head[8:12] == b"WEBP"
    return webp or head.startswith((b"\x89PNG", b"\xff\xd8\xff", b"BM", b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"))


def _describe(head: bytes) -> str:
    for magic, title in _OTHERS.items():
        if head.startswith(magic):
            return title
    if not head.strip(b"\0"):
        return "nothing but zeros"
    try:
        text = head.decode("utf-8-sig", errors="strict" if len(head) < 4096 else "ignore")
    except UnicodeDecodeError:
        return "something unknown"
    return "plain text" if all(c.isprintable() or c in "\r\n\t\f" for c in text) else "something unknown"


def _check_boxes(path: Path) -> None:
    """Walk the top-level boxes of an MP4: its index must be there, and where it is in fragments, all must be whole.

    A plain MP4 that was cut still says in its index how many frames it had, so decoding tells what is lost. One in
    fragments says it only fragment by fragment: how much is missing behind a cut, nobody can tell.
    """
    size, position = path.stat().st_size, 0
    index, fragments, kind = False, False, b""
    with path.open("rb") as file:
        while position + 8 <= size:
            file.seek(position)
            header = file.read(16)
            length, kind = int.from_bytes(header[:4], "big"), header[4:8]
            if length == 1:
                length = int.from_bytes(header[8:16], "big")
            elif length == 0:
                length = size - position
            if length < 8:
                break
            position += length
            index |= kind == b"moov" and position <= size
            fragments |= kind == b"moof"
    if not index:
        raise UnreadableRecording(
            "the video's index (moov) is missing: the file was cut short, or its recording was never finished",
            fix="copy it again, or repair it with the recording software",
        )
    if fragments and (position != size or not kind.isalnum()):
        raise UnreadableRecording(
            "the fragmented video is cut short or damaged, and how much is missing cannot be told",
            fix="copy it again; if what is there is all there is, rewrite it with: ffmpeg -i FILE -c copy NEW.mp4",
        )
