"""Names that must not be read any more, found in texts and JSON, and what stands for them."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

_SHORTEST = 3
_NEVER = re.compile(r"(?!)")
_IDENTITY = frozenset(
    {"action", "champion", "challenger", "classes", "decision", "gate", "kind", "line", "mlflow_run", "outcome"}
    | {"previous", "run_key", "seal", "sha256", "signer", "split", "state", "verdict"}
)
"""Fields that say which thing is meant, never who: verdict and bundle would be others' with another word there."""
_IDENTITY_ENDS = ("_id", "_oid", "_sha256", "_version")


class Names:
    """Clear names, each with what stands for it.

    A name is found where no letter or digit touches it, so that 'S_1' is found in 'S_1_frame_3' and not in 'S_10'.
    Names that are mere numbers, or shorter than three characters, would be found everywhere: they are looked for only
    where they say what they are (`donor:7`, `7.mp4`). So are names that are part of a word of ours: a film `sperm.mp4`
    must not rename the line `sperm-detector`.

    Args:
        donor: Name and what stands for it.
        others: Names of recordings, stems, landing keys → what stands for each.
        words: Of ours: lines, classes, outcomes.
    """

    def __init__(self, donor: tuple[str, str], others: Mapping[str, str], words: Iterable[str] = ()) -> None:
        name, stand_in = donor
        self._stands_for = {**others, name: stand_in, f"donor:{name}": f"donor:{stand_in}"}
        certain = [f"donor:{name}", *(one for one in others if "." in one or "/" in one)]
        ours = "\n".join(sorted(set(words)))
        loose = [
            one
            for one in (*others, name)
            if len(one) >= _SHORTEST and not one.isdecimal() and not _pattern([one]).search(ours)
        ]
        self._certain, self._loose = _pattern(certain), _pattern([*certain, *loose])
        self._in_html = _pattern([html.escape(one) for one in (*certain, *loose)])

    def text(self, text: str) -> str:
        """A text without them."""
        return self._loose.sub(self._instead, text)

    def value(self, value: Any, *, certain_only: bool = False) -> Any:
        """A JSON value without them. Keys are changed only where a name cannot be anything else, identities never."""
        pattern = self._certain if certain_only else self._loose
        if isinstance(value, str):
            return pattern.sub(self._instead, value)
        if isinstance(value, list | tuple):
            return [self.value(one, certain_only=certain_only) for one in value]
        if isinstance(value, dict):
            return {
                self._certain.sub(self._instead, str(key)): (
                    one if _is_identity(str(key), one) else self.value(one, certain_only=certain_only)
                )
                for key, one in value.items()
            }
        return value

    def stand_in(self, name: str) -> str:
        """What stands for one of them; itself, if it is none."""
        return self._stands_for.get(name, name)

    def mentioned(self, text: str) -> bool:
        """Whether a text, HTML or not, names any."""
        return bool(self._loose.search(text) or self._in_html.search(text))

    def mentioned_in(self, value: Any) -> bool:
        """Whether a JSON value does."""
        return self.mentioned(json.dumps(value, ensure_ascii=False, default=str))

    def _instead(self, match: re.Match[str]) -> str:
        return self._stands_for[match.group(0)]


def _is_identity(key: str, value: Any) -> bool:
    """Whether a field names a thing; a nested document of that name (a bundle's `verdict`) is looked into."""
    flat = isinstance(value, str) or (isinstance(value, list | tuple) and all(isinstance(one, str) for one in value))
    return flat and (key in _IDENTITY or key.endswith(_IDENTITY_ENDS))


def _pattern(names: list[str]) -> re.Pattern[str]:
    ordered = sorted({name for name in names if name}, key=lambda name: (-len(name), name))
    if not ordered:
        return _NEVER
    return re.compile(rf"(?<![^\W_])(?:{'|'.join(map(re.escape, ordered))})(?![^\W_])")
