"""The S3 server: buckets, and its clock."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC
from email.utils import parsedate_to_datetime

import httpx

from tasks.errors import ConfigError
from tasks.operations.doctor.findings import Finding, check, ok, unknown, warning, wrong
from tasks.operations.doctor.patient import Patient
from tasks.schemas import now

REFUSED_S = 900
"""S3 refuses requests that were signed by a clock which is off by more."""
NOTED_S = 30


@check("s3.buckets", everywhere=True)
def buckets(patient: Patient) -> Iterator[Finding]:
    """Every bucket is there, and the key that is for it opens it."""
    s3 = patient.s3
    if not s3.by(s3.landing).endpoint:
        return  # said by services.up
    wanted = {"landing": (s3.landing_bucket, s3.by(s3.landing))}
    if not patient.settings.only_brings:
        wanted |= {"lake": (s3.lake_bucket, s3), "frames": (s3.frames_bucket, s3)}
        if s3.mlflow_bucket and s3.mlflow.access_key:
            wanted["mlflow"] = (s3.mlflow_bucket, s3.by(s3.mlflow))
    for purpose, (name, key) in wanted.items():
        try:
            there = patient.store(name, key).exists()
        except ConfigError as error:
            variable = f"NIGHTSCOPE_S3__{'' if purpose in ('lake', 'frames') else f'{purpose.upper()}__'}ACCESS_KEY"
            yield wrong(f"bucket {name!r} at {key.endpoint}: {error.thing}", f"check {variable} and its secret")
            continue
        if there:
            yield ok(f"bucket {name!r} ({purpose}) at {key.endpoint}")
        else:
            yield wrong(
                f"bucket {name!r} ({purpose}) is not at {key.endpoint}",
                "nightscope down and nightscope up make those of the embedded stack; elsewhere, make it",
            )


@check("s3.clock", everywhere=True)
def clock(patient: Patient) -> Iterator[Finding]:
    """This machine's clock and the S3 server's agree."""
    s3 = patient.settings.s3
    endpoint = s3.by(s3.landing).endpoint if patient.settings.only_brings else s3.endpoint
    if not endpoint:
        return
    before = now()
    try:
        stated = httpx.get(endpoint, timeout=20, trust_env=False).headers.get("date")
    except httpx.HTTPError as error:
        yield unknown(f"{endpoint}: did not tell the time ({type(error).__name__})", "nightscope status")
        return
    if stated is None:
        yield unknown(f"{endpoint}: does not tell the time")
        return
    # The header has whole seconds; the answer took from `before` until now.
    off_s = (parsedate_to_datetime(stated).astimezone(UTC) - before).total_seconds()
    said = f"{endpoint}: its clock is {abs(off_s):.0f} s {'ahead of' if off_s > 0 else 'behind'} this machine's"
    if abs(off_s) > REFUSED_S:
        yield wrong(f"{said}; it refuses what is off by more than {REFUSED_S} s", "let both ask a time server (NTP)")
    elif abs(off_s) > NOTED_S:
        yield warning(said, "let both ask a time server (NTP)")
    else:
        yield ok(said)
