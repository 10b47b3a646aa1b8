"""Evidence: whether each line's chain has come as far as this machine has seen it."""

from __future__ import annotations

from collections.abc import Iterator

from tasks.errors import ConfigError
from tasks.operations.doctor.findings import Finding, check, ok, unknown, warning, wrong
from tasks.operations.doctor.patient import Patient


@check("evidence.heads")
def known_heads(patient: Patient) -> Iterator[Finding]:
    """What this machine has seen of each line's evidence is still there. `nightscope verify` looks at all of it."""
    from tasks.evidence import chain, heads  # jinja2: not on a machine that only brings recordings

    try:
        known = heads.read(patient.settings)
    except ConfigError as error:
        yield wrong(error.thing, f"{error.fix}; nightscope verify begins it anew, and cannot see what was cut before")
        return
    damaged = patient.settings.heads.with_suffix(".damaged")
    if damaged.exists():
        yield warning(f"{damaged}: the list was damaged once, and begun anew", "compare it, then remove it")
    if known and not patient.has_tables:
        yield unknown(f"evidence of {len(known)} lines was here; there is no catalog to compare it with")
        return
    lake, whole = patient.session.lake, 0
    for line, seen in sorted(known.items()):
        lost = heads.lost_of(seen, chain.entries(lake, line))
        if lost:
            numbers = ", ".join(str(place.number) for place in lost)
            yield wrong(f"line {line}: evidence {numbers} was here, and is gone or another",
                        f"nightscope verify {line} has the details; restore the lake's bucket and catalog")  # fmt: skip
        whole += not lost
    if whole == len(known):
        yield ok(f"{whole} lines, as far as this machine has seen them")
