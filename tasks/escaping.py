"""Text that came from outside (keys, names, notes, tags), made harmless for where it is shown.

| where | what could happen | here |
|---|---|---|
| a terminal | control characters move the cursor, set titles, turn text around | `visible` |
| one line of a list or a table | a line break forges the next line | `one_line` |
| a log, by a key or a name | the same, and characters that nobody sees make names look alike | `visible_name` |
| a record of the lake | what came in stays there: marks instead, and no more than so much | `marked` |
| a record of a person's words | nothing that is invisible belongs into a note | `plain_text` |
| Markdown | a note becomes a link, an image, a heading, a table's cell | `markdown` |
| a spreadsheet | a cell that begins with `=` is a formula | `csv_cell` |

HTML is escaped by the templates themselves (autoescape).
"""

from __future__ import annotations

import re
import unicodedata
from typing import Any

_CONTROL = r"\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff"
"""C0 but tab and line feed, DEL, C1, and what turns the direction of text; lone surrogates cannot be printed either."""
_UNPRINTABLE = re.compile(f"[{_CONTROL}\ud800-\udfff]")
_UNSEEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
"""Categories that show nothing: control, format (which turns text around), half and unassigned characters, breaks."""
_MARKDOWN = re.compile(r"([\\`*_\[\]<>|#~&])")
_AUTOLINK = re.compile(r"(?i)(\b[a-z][a-z0-9+.-]*:(?=//)|\bwww(?=\.)|@(?=\w)|\bmailto:|\bxmpp:)")
_WORD_JOINER = "\u2060"
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")


def visible(text: str) -> str:
    """Text with its control characters spelled out (`\\x1b`, `\\u202e`); tabs and line feeds stay."""
    return _UNPRINTABLE.sub(_spelled, text)


def one_line(text: str) -> str:
    """`visible`, and line feeds and tabs spelled out as well."""
    return visible(text).replace("\n", "\\n").replace("\t", "\\t")


def visible_name(text: str) -> str:
    """A key or a file name with every character that shows nothing spelled out."""
    return "".join(each if _is_seen(each) else each.encode("unicode_escape").decode() for each in text)


def marked(text: str, longest: int) -> str:
    """Text with U+FFFD for each character that shows nothing; more than `longest` characters end in an ellipsis."""
    cut = text if len(text) <= longest else text[: longest - 1] + "…"
    return "".join(each if _is_seen(each) else "\ufffd" for each in cut)


def plain_text(text: str, longest: int = 2000) -> str:
    """What a person wrote, on one line and without any character that shows nothing."""
    seen = "".join(" " if each.isspace() else each for each in text)
    return " ".join("".join(each for each in seen if _is_seen(each)).split())[:longest]


def short_repr(value: Any, longest: int = 60) -> str:
    """A value for a message: its `repr`, short, and never the thousand digits of a number."""
    text = "a huge number" if isinstance(value, int) and abs(value) >= 10**20 else repr(value)
    return text if len(text) <= longest else f"{text[: longest - 3]}..."


def _is_seen(character: str) -> bool:
    return unicodedata.category(character) not in _UNSEEN


def json_safe(document: str) -> str:
    """A JSON document with the control characters that JSON allows in strings as `\\uXXXX`: it means the same."""
    return _UNPRINTABLE.sub(lambda found: f"\\u{ord(found[0]):04x}", document)


def markdown(text: str) -> str:
    """Text that Markdown takes for nothing but text, on one line; GitHub's kind makes links of bare addresses, too."""
    plain = " ".join(visible(str(text)).split())
    return _AUTOLINK.sub(rf"\1{_WORD_JOINER}", _MARKDOWN.sub(r"\\\1", plain))


def markdown_code(text: str) -> str:
    """Text as a code span, also in a table."""
    return f"`{one_line(str(text)).replace('`', chr(39)).replace('|', chr(92) + '|')}`"


def csv_cell(value: Any) -> Any:
    """A cell that no spreadsheet takes for a formula: what looks like one gets an apostrophe. Numbers stay numbers."""
    if not isinstance(value, str) or not value.lstrip(" ").startswith(_FORMULA) or _is_number(value):
        return value
    return f"'{value}"


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return text == text.strip()


def _spelled(found: re.Match[str]) -> str:
    code = ord(found[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
