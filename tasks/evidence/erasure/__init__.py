"""A donor's data goes: find all of it, write down by a signed tombstone what will go, then let it go.

names      what must not be read any more, and what stands for it
scope      what belongs to a donor: recordings, frames, blobs, objects in the landing bucket
plan       every object of the lake that has to go, or to be replaced by a copy that does not name the donor
carry_out  the tombstone first, then everything, the recordings' rows last: killed anywhere, run again, it ends
"""

from __future__ import annotations

from tasks.evidence.erasure.carry_out import carry_out, finish, quiet
from tasks.evidence.erasure.plan import Plan, make_plan
from tasks.evidence.erasure.scope import Scope, known_donors, scope_of

__all__ = ["Plan", "Scope", "carry_out", "finish", "known_donors", "make_plan", "quiet", "scope_of"]
