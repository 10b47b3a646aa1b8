"""Which code audited: an audit by other code, or other thresholds, is no audit."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

from tasks.schemas import digest

_HERE = Path(__file__).parent
_SAYS_ONLY = {"report.py", "filing.py", "__init__.py"}
"""What decides nothing: a nicer report is no reason to audit again."""


@cache
def audit_code(*, clips: bool = True) -> str:
    """Digest of the sources, thresholds included, that decide what leaks; another one where clips are not compared."""
    sources = {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(_HERE.glob("*.py"))
        if path.name not in _SAYS_ONLY
    }
    found = digest(sources)[:16]
    return found if clips else f"{found}-frames-only"
