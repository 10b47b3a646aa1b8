"""What nights make of it: gates that hold for ever, and much in quarantine."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import timedelta

from tasks.lake.quarantine import listed
from tasks.operations.doctor.findings import Finding, check, ok, warning
from tasks.operations.doctor.patient import Patient
from tasks.schemas import Decision, Recording, Verdict, now

HELD = 7
"""So many verdicts in a row without a promotion are worth a person's look."""
RATE, LEAST = 0.2, 5
_WEEK = timedelta(days=7)


@check("nights.gates")
def gates(patient: Patient) -> Iterator[Finding]:
    """No line is held back by the same gate night after night."""
    if not patient.has_tables:
        return
    rows = patient.session.lake.tables.rows("verdicts", Verdict)
    stuck = 0
    for name in patient.session.line_names():
        newest = sorted((row for row in rows if row.line == name), key=lambda row: row.at)[-HELD:]
        if len(newest) < HELD or any(row.verdict == Decision.PROMOTE for row in newest):
            continue
        stuck += 1
        failed = Counter(gate.gate for row in newest for gate in row.gates if gate.decision != Decision.PROMOTE)
        often = ", ".join(f"{gate} ({count} of {HELD})" for gate, count in failed.most_common(3))
        yield warning(
            f"line {name}: the last {HELD} verdicts promoted nothing; gates that held: {often or 'none'}",
            f"nightscope report {name}; nightscope diagnose {name}; is the gate within reach?",
        )
    if not stuck:
        yield ok("no line is held back for long")


@check("nights.quarantine")
def quarantine(patient: Patient) -> Iterator[Finding]:
    """Little of what comes in is set aside."""
    if not patient.has_tables:
        return
    since = now() - _WEEK
    tables = patient.session.lake.tables
    bad = [item for item in listed(patient.session.lake) if item.what == "recording" and item.at > since]
    good = sum(row.ingested_at > since for row in tables.rows("recordings", Recording))
    total = len(bad) + good
    said = f"{len(bad)} of {total} recordings of the last 7 days were set aside"
    if len(bad) >= LEAST and len(bad) > RATE * total:
        reason = Counter(item.reason[:80] for item in bad).most_common(1)[0][0]
        yield warning(f"{said}, most often: {reason}", "nightscope quarantine lists them with their reasons")
    else:
        yield ok(said)


@check("nights.landing")
def waiting(patient: Patient) -> Iterator[Finding]:
    """What landed is taken in."""
    from tasks.ingest.arrivals import new_in_landing

    if not patient.has_tables:
        return
    new = new_in_landing(patient.session.lake)
    old = [info for info in new if now() - info.modified_at > timedelta(days=2)]
    if old:
        yield warning(
            f"{len(old)} recordings have waited for more than two days, the first since {old[0].modified_at:%Y-%m-%d}",
            "is the DAG ingest_recordings on? Or: nightscope step ingest-recordings",
        )
    else:
        yield ok(f"{len(new)} recordings wait for the next night")
