"""How a finding is named: by its kind and by the recordings that it is about."""

from __future__ import annotations

from typing import Literal, get_args

from tasks.schemas import Oid, digest

Kind = Literal["group", "recording", "blob", "frame", "clip", "crop", "inconclusive"]
ClearableKind = Literal["frame", "clip", "crop", "inconclusive"]
"""Kinds that are found by how pictures look, with thresholds that come from few clips: a person may know better. The
other kinds are exact, the same name or the same bytes, and nobody can clear them."""
Pair = tuple[Oid, Oid]

CLEARABLE: frozenset[Kind] = frozenset(get_args(ClearableKind))


def pair_of(one: Oid, other: Oid) -> Pair:
    """Two recordings in a fixed order."""
    return (one, other) if one < other else (other, one)


def pair_id(kind: Kind, pair: Pair) -> str:
    """12 hex digits that name two recordings and the kind of finding between them, for a person to type."""
    return digest("pair", kind, sorted(pair))[:12]
