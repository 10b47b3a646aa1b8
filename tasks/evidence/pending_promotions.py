"""What is about to be done to a line's aliases, as it waits in S3: signed, for one line and one place in its evidence.

undertakings/<line>.json            what was begun and is not crossed out yet
undertakings/<line>/<digest>.json   what was set aside: not ours, from another time, or impossible to finish
"""

from __future__ import annotations

import hashlib

from tasks.config import Settings
from tasks.lake import Lake
from tasks.lake.signed import Opened, open_json, seal_json
from tasks.schemas import Frozen

KIND = "undertaking"
JSON = "application/json"


def key_of(line: str) -> str:
    """Where a line's order waits."""
    return f"undertakings/{line}.json"


def aside_prefix(line: str) -> str:
    """Where orders of a line lie that were set aside."""
    return f"undertakings/{line}/"


def sealed(settings: Settings, line: str, order: Frozen, number: int) -> bytes:
    """An order, signed for the place in the line's evidence that it will have."""
    return seal_json(settings, KIND, line, key_of(line), order.model_dump(mode="json"), number)


def opened(settings: Settings, line: str, data: bytes) -> Opened:
    """An order that waits.

    Raises:
        SignatureError: Nobody who is trusted here signed it as an order of this line.
    """
    return open_json(settings, data, KIND, line, key_of(line))


def set_aside(lake: Lake, line: str, data: bytes) -> str:
    """Take what waits out of the way, and keep it to be looked at. Returns where."""
    key = f"{aside_prefix(line)}{hashlib.sha256(data).hexdigest()[:16]}.json"
    lake.store.put_bytes(key, data, JSON)
    lake.store.remove(key_of(line))
    return key
