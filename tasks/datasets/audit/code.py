"""Which code audited: an audit by other code, or other thresholds, is no audit."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from tasks.schemas import digest

_HERE = Path(__file__).parent
_WATCHING = _HERE.parents[1] / "ingest" / "watching.py"
"""Makes the small pictures that all of this looks at."""
_SAYS_ONLY = {"report.py", "filing.py", "__init__.py"}
"""What decides nothing: a nicer report is no reason to audit again."""
DECIDING = (*sorted(path for path in _HERE.glob("*.py") if path.name not in _SAYS_ONLY), _WATCHING)
SIGNING = (*(_HERE / name for name in ("signatures.py", "seeing.py", "features.py")), _WATCHING)
"""Sources by which a recording's signature comes out as it does."""


@cache
def audit_code(*, clips: bool = True) -> str:
    """Digest of the sources, thresholds included, that decide what leaks; another one where clips are not compared."""
    found = digest_of(DECIDING)
    return found if clips else f"{found}-frames-only"


@cache
def signing_code() -> str:
    """Digest of the sources that make signatures: when one of them changes, all signatures are made again."""
    return digest_of(SIGNING)


def digest_of(sources: Iterable[Path]) -> str:
    """16 digits that change when a source does."""
    return digest({path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sources})[:16]
