from __future__ import annotations

import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tasks.ingest.names import MAX_BYTES, natural_key, safe_name, split_suffix


@pytest.mark.parametrize(
    ("given_name", "safe"),
    [
        ("S_0001.mp4", "S_0001.mp4"),
        ("two words, 精子 – é.mp4", "two words, 精子 – é.mp4"),
        ("../../etc/passwd.mp4", "_.._etc_passwd.mp4"),
        ("..\\..\\x.mp4", "_.._x.mp4"),
        (" .hidden.mp4 ", "hidden.mp4"),
        ("a\x00b\nc\x1b[31m.mp4", "ab c[31m.mp4"),
        ("gpj\u202e4pm.exe.mp4", "gpj4pm.exe.mp4"),
        ("e\u0301.mp4", "\u00e9.mp4"),
        ("..", "recording"),
        ("", "recording"),
        ("\udcff.mp4", "_.mp4"),
        ("x" * 500 + ".mp4", "x" * (MAX_BYTES - 4) + ".mp4"),
    ],
)
def test_examples(given_name: str, safe: str) -> None:
    assert safe_name(given_name) == safe


@given(st.text(max_size=300) | st.text(alphabet="./\\ ..\u202e\u0301\x00精a", max_size=300))
@example("." * 300)
@example("a" + " " * 300 + ".mp4")
@example("\u0344" * 100)
def test_any_name_becomes_one_harmless_component(name: str) -> None:
    safe = safe_name(name)
    assert safe and safe not in (".", "..") and not safe.startswith(".")
    assert safe == safe.strip() and not set("/\\") & set(safe)
    assert all(unicodedata.category(c) not in ("Cc", "Cs", "Cn", "Zl", "Zp") for c in safe)
    assert unicodedata.is_normalized("NFC", safe)
    assert len(safe.encode()) <= MAX_BYTES
    assert safe_name(safe) == safe


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("S_0001.mp4", ("S_0001", ".mp4")),
        ("a.b.tif", ("a.b", ".tif")),
        ("scan.v1.frames.zip", ("scan.v1", ".frames.zip")),
        ("none", ("none", "")),
        (".mp4", (".mp4", "")),
    ],
)
def test_stem_and_suffix(name: str, parts: tuple[str, str]) -> None:
    assert split_suffix(name) == parts


def test_natural_order() -> None:
    names = ["img10.png", "img2.png", "img1.png", "IMG3.png", "a.png", "007.png"]
    assert sorted(names, key=natural_key) == ["007.png", "a.png", "img1.png", "img2.png", "IMG3.png", "img10.png"]
