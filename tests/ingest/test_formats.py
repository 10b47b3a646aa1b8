from __future__ import annotations

from pathlib import Path

import pytest

from tasks.errors import UnreadableRecording
from tasks.ingest.formats import Format, check_content, format_of


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.mp4", Format.MP4), ("A.MOV", Format.MP4), ("a.avi", Format.AVI), ("a.b.mkv", Format.MATROSKA),
        ("a.tif", Format.TIFF), ("a.TIFF", Format.TIFF), ("scan.frames.zip", Format.IMAGES),
        ("a.zip", None), ("a.txt", None), ("mp4", None), (".mp4", None), ("a.mp4.exe", None),
    ],
)  # fmt: skip
def test_the_suffix_promises_a_format(name: str, kind: Format | None) -> None:
    assert format_of(name) is kind


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "empty"),
        (b"hello world\n", "plain text"),
        (b"#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1/secret\n", "plain text"),
        (bytes(9000), "nothing but zeros"),
        (b"\x89PNG\r\n\x1a\n" + bytes(50), "a PNG image"),
        (b"RIFF\0\0\0\0AVI " + bytes(50), "an AVI video"),
        (b"PK\x03\x04" + bytes(50), "ZIP"),
        (b"\x01\x02\x03\x99\xfe", "something unknown"),
        (b"\0\0\0\x18ftypisom" + bytes(12), "moov"),
    ],
)
def test_content_that_is_no_mp4_is_refused_in_plain_words(tmp_path: Path, content: bytes, says: str) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(content)
    with pytest.raises(UnreadableRecording, match=says):
        check_content(path, Format.MP4)
