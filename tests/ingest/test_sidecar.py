from __future__ import annotations

import pytest

from tasks.errors import UnreadableRecording
from tasks.ingest.sidecar import Sidecar, parse

TEXT = '{"donor": "D7", "um_per_px": 0.5}'


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_an_editors_encoding_is_no_content(encoding: str) -> None:
    assert parse(TEXT.encode(encoding)) == Sidecar(donor="D7", um_per_px=0.5)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"\x80\x81", "is not text in UTF-8 or UTF-16"),
        (b"", "is wrong: file: Invalid JSON"),
        (b"[" * 60_000, "is wrong: file: Invalid JSON"),
        (b'{"um_per_px": 1e400}', "is wrong: um_per_px"),
        (b'{"um_per_px": NaN}', "is wrong"),
        (b" " * 70_000, "is 70000 bytes long"),
    ],
)
def test_a_sidecar_that_cannot_be_read_says_why(data: bytes, reason: str) -> None:
    with pytest.raises(UnreadableRecording) as caught:
        parse(data)
    assert reason in str(caught.value)
