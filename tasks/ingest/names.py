"""File names as given by people, made safe to be part of an object's key."""

from __future__ import annotations

import re
import unicodedata

MAX_BYTES = 200
"""Of a name in UTF-8. Object stores on a file system allow 255 a name; the sidecar's suffix needs room too."""

_JOINERS = "\u200c\u200d"  # part of ordinary words in Persian and of emoji; every other format character is dropped
_SEPARATORS = str.maketrans({"/": "_", "\\": "_", "\u2044": "_", "\u2215": "_", "\u29f8": "_", "\uff0f": "_"})


def safe_name(name: str, *, fallback: str = "recording") -> str:
    """`name` as one harmless path component; unicode and spaces stay.

    The result is NFC, not empty, has no path separator (nor a character that looks like one), no control, format or
    unassigned character, no leading dot, no white space at its ends, and at most `MAX_BYTES` bytes, with its
    suffix kept. Names that are harmless already come back as they are (in NFC), and doing it twice changes nothing.
    """
    text = unicodedata.normalize("NFC", name).translate(_SEPARATORS)
    text = "".join(_safe_character(character) for character in text)
    # Dropping characters may have brought others together that now compose.
    text = unicodedata.normalize("NFC", text)
    text = _shortened(re.sub(r"^[\s.]+|\s+$", "", text))
    return text if text.strip("._- ") else fallback


def _safe_character(character: str) -> str:
    category = unicodedata.category(character)
    if category in ("Zl", "Zp"):
        return " "
    if category == "Cc":
        return " " if character in "\t\n\r" else ""
    if category == "Cf":
        return character if character in _JOINERS else ""
    return "_" if category in ("Cs", "Cn", "Co") else character


def _shortened(text: str) -> str:
    if len(text.encode()) <= MAX_BYTES:
        return text
    stem, suffix = split_suffix(text)
    if len(suffix.encode()) > 40:
        stem, suffix = text, ""
    room = MAX_BYTES - len(suffix.encode())
    return stem.encode()[:room].decode(errors="ignore").rstrip() + suffix


def split_suffix(name: str) -> tuple[str, str]:
    """Stem and suffix, e.g. ('S_0001', '.mp4'); a packed folder's '.frames.zip' or '.stills.zip' counts as one."""
    match = re.search(r"(\.(?:frames|stills)\.zip|\.[^.]*)$", name, flags=re.IGNORECASE)
    if match is None or match.start() == 0:
        return name, ""
    return name[: match.start()], match.group(1)


def natural_key(name: str) -> list[tuple[int, int, str]]:
    """Sort key that puts 'img2' before 'img10'; total, so that the order is the same everywhere."""
    parts = re.split(r"([0-9]+)", name)
    keyed = [(0, int(part), part) if part.isdigit() else (1, 0, part.casefold()) for part in parts]
    return [*keyed, (2, 0, name)]
