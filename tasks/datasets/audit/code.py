"""Which code audited: an audit by other code, or other thresholds, is no audit."""

from __future__ import annotations

from tasks.provenance import code_of


def audit_code(*, clips: bool = True) -> str:
    """Digest of the sources, thresholds included, that decide what leaks; another one where clips are not compared."""
    return code_of("audit") if clips else f"{code_of('audit')}-frames-only"
