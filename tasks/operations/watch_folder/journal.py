"""What a watched folder held and what became of it: a small database on this machine's disk, whole after any death.

It is an aid, not the truth: what landed lands under a name that follows from its content, so that without the journal
everything is looked at once more, and nothing lands twice.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

Became = Literal["seen", "landed", "refused"]

_TABLES = """
CREATE TABLE IF NOT EXISTS recordings (
    path TEXT PRIMARY KEY, signature TEXT NOT NULL, seen_at REAL NOT NULL, became TEXT NOT NULL, note TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS folders (path TEXT PRIMARY KEY, signature TEXT NOT NULL);
"""


@dataclass(frozen=True)
class Entry:
    """A recording of the folder.

    Attributes:
        path: Below the folder.
        signature: Names, sizes and times of its files when it was looked at last.
        seen_at: Since when it has this signature, seconds since 1970.
        became: `seen`: not dealt with yet.
        note: The key under which it landed, or why it did not.
    """

    path: str
    signature: str
    seen_at: float
    became: Became = "seen"
    note: str = ""


def journal_path(state_dir: Path, folder: Path) -> Path:
    """Where the journal of a folder is."""
    return state_dir / "watch" / f"{hashlib.sha256(os.fsencode(folder)).hexdigest()[:16]}.sqlite3"


class Journal:
    """The journal of one folder. Each change is on disk before the next is made.

    Args:
        path: Of its file; made for its owner only.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
        self._connection = sqlite3.connect(path, isolation_level=None)
        # Names of recordings may name people: what is removed is overwritten.
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "secure_delete=ON"):
            self._connection.execute(f"PRAGMA {pragma}")
        self._connection.executescript(_TABLES)

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def entry(self, path: str) -> Entry | None:
        """What is known of a recording."""
        row = self._connection.execute("SELECT * FROM recordings WHERE path = ?", (path,)).fetchone()
        return None if row is None else Entry(*row)

    def note(self, entry: Entry) -> None:
        """Keep what became of a recording."""
        values = (entry.path, entry.signature, entry.seen_at, entry.became, entry.note)
        self._connection.execute("INSERT OR REPLACE INTO recordings VALUES (?, ?, ?, ?, ?)", values)

    def entries(self) -> list[Entry]:
        """Everything, by path."""
        return [Entry(*row) for row in self._connection.execute("SELECT * FROM recordings ORDER BY path")]

    def settled(self, folder: str) -> str | None:
        """The signature with which everything in a folder was dealt with."""
        row = self._connection.execute("SELECT signature FROM folders WHERE path = ?", (folder,)).fetchone()
        return None if row is None else str(row[0])

    def settle(self, folder: str, signature: str) -> None:
        """Everything in a folder, as it is by this signature, was dealt with."""
        self._connection.execute("INSERT OR REPLACE INTO folders VALUES (?, ?)", (folder, signature))

    def forget_others(self, folders: Collection[str], there: Mapping[str, Collection[str]]) -> None:
        """Forget what is gone.

        Args:
            folders: All folders there are.
            there: Folder → its recordings, of the folders that were looked into.
        """
        gone = {path for (path,) in self._connection.execute("SELECT path FROM folders")} - set(folders)
        self._connection.executemany("DELETE FROM folders WHERE path = ?", [(path,) for path in gone])
        if not gone and not there:
            return
        for entry in self.entries():
            owner = entry.path if entry.path in folders else str(PurePosixPath(entry.path).parent)
            if owner not in folders or (owner in there and entry.path not in there[owner]):
                self.forget(entry.path)

    def forget(self, path: str) -> None:
        """Forget a recording."""
        self._connection.execute("DELETE FROM recordings WHERE path = ?", (path,))
