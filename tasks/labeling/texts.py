"""Texts that people outside wrote, made safe to store and to show."""

from __future__ import annotations

import unicodedata

_UNSEEN = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")
"""Control, formatting (which turns text around), half characters, unassigned ones, line and paragraph separators."""


def printable(text: str, longest: int) -> str:
    """The text without what a terminal or a page would obey instead of show, and of bounded length.

    Args:
        text: Anything that came as text; each character that cannot be shown becomes U+FFFD.
        longest: Characters to keep; a longer text ends in an ellipsis.
    """
    cut = text if len(text) <= longest else text[: longest - 1] + "…"
    return "".join("\ufffd" if unicodedata.category(each) in _UNSEEN else each for each in cut)
