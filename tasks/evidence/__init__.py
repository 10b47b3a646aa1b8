"""The evidence chain: for each verdict one immutable bundle, naming all it rests on and the bundle before it.

record   adds a bundle: what was decided, by whom, from what; with a model card
verify   reads everything again, computes it again, and says what no longer holds
"""

from __future__ import annotations

from tasks.evidence.bundle import Action, Bundle
from tasks.evidence.chain import entries, find
from tasks.evidence.record import record
from tasks.evidence.verify import verify

__all__ = ["Action", "Bundle", "entries", "find", "record", "verify"]
