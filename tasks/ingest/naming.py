"""Files, pictures and donors by pseudonyms, before anything leaves this machine."""

from __future__ import annotations

import re
import string

from tasks.config import Settings
from tasks.ingest.names import safe_name, split_suffix
from tasks.lake.pseudonyms import What, pseudonym, remember

_LAST_NUMBER = re.compile(r"\d{1,18}(?=\D*$)")
_LETTERS = str.maketrans(string.digits, "ghijklmnop")  # hex digits that cannot be taken for a picture's number
_PLACE_LETTERS = 5


class Naming:
    """Gives pseudonyms, and has this machine remember them.

    Args:
        settings: Whose key, and whose table.
        donor: Clear name of whose files they are, if anybody's.

    Attributes:
        donor: Their pseudonym.
    """

    def __init__(self, settings: Settings, donor: str | None) -> None:
        self._settings = settings
        self._new: dict[str, str] = {}
        self.donor = self._of("donor", donor) if donor else None

    def _of(self, what: What, name: str) -> str:
        """The pseudonym of a name, without any suffix."""
        own = pseudonym(self._settings, what, name)
        self._new[own] = name
        return own

    def file(self, name: str) -> str:
        """A file's name: its stem is replaced, its suffix says how it is read and stays."""
        stem, suffix = split_suffix(safe_name(name))
        return f"{self._of('file', stem)}{suffix}"

    def member(self, path: str) -> str:
        """A still's path in its batch: each folder and the file's stem are replaced."""
        *folders, name = path.split("/")
        return "/".join([*(self._of("file", folder) for folder in folders), self.file(name)])

    def picture(self, place: int, name: str) -> str:
        """A picture's name in a folder: its place keeps the order, and the last number in it finds its labels."""
        stem, suffix = split_suffix(name)
        number = _LAST_NUMBER.search(stem)
        what, _, told = pseudonym(self._settings, "picture", stem).partition("-")
        own = f"{what}-{_letters(place)}-{told.translate(_LETTERS)}"
        own = f"{own}_{number.group()}" if number else own
        self._new[own] = stem
        return f"{own}{suffix}"

    def given(self) -> dict[str, str]:
        """What was given so far: pseudonym → clear name."""
        return dict(self._new)

    def keep(self) -> None:
        """Have what was given so far remembered, before it is used."""
        remember(self._settings, self._new, self.donor or "")
        self._new = {}


def _letters(place: int) -> str:
    """A place as letters that sort like it."""
    found = ""
    for _ in range(_PLACE_LETTERS):
        place, letter = divmod(place, 26)
        found = string.ascii_lowercase[letter] + found
    return found
