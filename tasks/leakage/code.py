"""Names the code of an audit: one that was made by other code, or with other thresholds, does not count."""

from __future__ import annotations

from tasks.provenance import code_of


def audit_code(*, clips: bool = True) -> str:
    """Return the digest of the sources and thresholds that decide what leaks.

    Args:
        clips: Whether whole recordings are compared, too. Where only frames are, the code has another name.
    """
    return code_of("audit") if clips else f"{code_of('audit')}-frames-only"
