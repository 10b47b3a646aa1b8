"""Parts of results that several steps share."""

from __future__ import annotations

from tasks.schemas import Frozen


class SetAside(Frozen):
    """Something that stands in quarantine."""

    what: str
    reason: str
