"""S3's keys: each opens what its holder needs, and nothing else. Small probes are written, and removed again."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

import httpx

from tasks.config import S3Settings
from tasks.errors import ConfigError, NightscopeError, NotFound, TransportError
from tasks.operations.doctor.findings import Finding, check, ok, unknown, warning, wrong
from tasks.operations.doctor.patient import Patient

PROBE = ".doctor/probe"
"""A hidden name: no night takes it for a recording."""
_REFUSALS = (400, 401, 403)


@dataclass(frozen=True)
class Door:
    """A purpose's key, and the bucket that it is for."""

    purpose: str
    key: S3Settings
    bucket: str

    @property
    def pair(self) -> tuple[str, str]:
        """What is sent."""
        return self.key.access_key, self.key.secret_key.get_secret_value()


def doors(patient: Patient) -> dict[str, Door]:
    """Purpose → the key that this machine holds for it. Several purposes may share one."""
    s3 = patient.s3
    if not s3.by(s3.landing).endpoint:
        return {}
    found = {"landing": Door("landing", s3.by(s3.landing), s3.landing_bucket)}
    if patient.settings.only_brings:
        return found
    found["lake"] = Door("lake", s3, s3.lake_bucket)
    if s3.frames.access_key:
        found["frames"] = Door("frames", s3.by(s3.frames), s3.frames_bucket)
    if s3.mlflow.access_key and s3.mlflow_bucket:
        found["mlflow"] = Door("mlflow", s3.by(s3.mlflow), s3.mlflow_bucket)
    return found


@check("s3.keys", everywhere=True)
def may(patient: Patient) -> Iterator[Finding]:
    """Each key can do what it must: write and read its bucket; annotators' key reads."""
    for door in doors(patient).values():
        if door.purpose == "frames":
            yield from _reads_frames(patient, door)
            continue
        try:
            seen = _write_and_read(patient, door)
        except ConfigError as error:
            yield wrong(f"key of {door.purpose}: {error.thing}", error.fix or "give the key its rights: SECURITY.md")
            continue
        if seen:
            yield ok(f"key of {door.purpose}: writes and reads {door.bucket!r}")
        else:
            yield wrong(
                f"key of {door.purpose}: what it wrote into {door.bucket!r} did not come back",
                "look into the S3 server's log",
            )


@check("s3.strangers")
def may_not(patient: Patient) -> Iterator[Finding]:
    """No key opens more than its own bucket, and nobody gets in without one."""
    known = doors(patient)
    yield from _shared(known)
    for owner in known.values():
        if owner.purpose == "frames":
            continue  # the lake's key writes them, and opens them by right
        probe = patient.store(owner.bucket, owner.key)
        text = secrets.token_hex(16).encode()
        probe.put_bytes(PROBE, text)
        try:
            others = [each for each in known.values() if each.pair != owner.pair]
            found = [finding for other in others for finding in _tried(patient, other, owner, text)]
            found += _nobody(owner)
        finally:
            probe.remove(PROBE)
        yield from found
        if not found:
            yield ok(
                f"{owner.bucket!r} is closed to {', '.join(each.purpose for each in others) or 'nobody else'}, "
                "and to who has no key"
            )
    if "frames" in known and known["frames"].pair != known["lake"].pair:
        yield from _writes_frames(patient, known["frames"], known["lake"])


def _write_and_read(patient: Patient, door: Door) -> bool:
    store, text = patient.store(door.bucket, door.key), secrets.token_hex(16).encode()
    store.put_bytes(PROBE, text)
    try:
        return store.get_bytes(PROBE) == text
    finally:
        store.remove(PROBE)


def _reads_frames(patient: Patient, door: Door) -> Iterator[Finding]:
    lake = doors(patient)["lake"]
    writer, text = patient.store(door.bucket, lake.key), secrets.token_hex(16).encode()
    writer.put_bytes(PROBE, text)
    try:
        seen = patient.store(door.bucket, door.key).get_bytes(PROBE) == text
    except (ConfigError, NotFound) as error:
        yield wrong(f"key of frames: {error.thing}", "give it the right to read frames, or annotators see no pictures")
        return
    finally:
        writer.remove(PROBE)
    if seen:
        yield ok(f"key of frames: reads {door.bucket!r}")


def _shared(known: dict[str, Door]) -> Iterator[Finding]:
    lake = known.get("lake")
    for door in known.values():
        if lake and door is not lake and door.pair == lake.pair:
            yield warning(
                f"{door.purpose} has the lake's key: who holds it can change the lake",
                f"set NIGHTSCOPE_S3__{door.purpose.upper()}__ACCESS_KEY and its secret: SECURITY.md",
            )


def _tried(patient: Patient, other: Door, owner: Door, text: bytes) -> Iterator[Finding]:
    """What a key does at a bucket that is another's, at that bucket's own server."""
    stranger = patient.store(owner.bucket, other.key.model_copy(update={"endpoint": owner.key.endpoint}))
    fix = f"take from the key of {other.purpose} every right but those of SECURITY.md's policies"
    try:
        read = stranger.get_bytes(PROBE) == text
    except TransportError as error:
        yield unknown(f"key of {other.purpose} at {owner.bucket!r}: {error.thing}")
        return
    except NightscopeError:
        read = False
    if read:
        yield wrong(f"key of {other.purpose} reads {owner.bucket!r}", fix)
    planted = secrets.token_hex(16).encode()
    with suppress(NightscopeError):
        stranger.put_bytes(PROBE, planted)
    if patient.store(owner.bucket, owner.key).get_bytes(PROBE) == planted:
        yield wrong(f"key of {other.purpose} writes {owner.bucket!r}", fix)


def _writes_frames(patient: Patient, frames: Door, lake: Door) -> Iterator[Finding]:
    witness, planted = patient.store(frames.bucket, lake.key), secrets.token_hex(16).encode()
    with suppress(NightscopeError):
        patient.store(frames.bucket, frames.key).put_bytes(PROBE, planted)
    try:
        written = witness.get_bytes(PROBE) == planted
    except NotFound:
        written = False
    if written:
        witness.remove(PROBE)
        yield wrong(
            f"annotators' key writes {frames.bucket!r}: they could exchange what they are shown",
            "let it read only: docs/policies.json",
        )
    else:
        yield ok(f"annotators' key writes nothing into {frames.bucket!r}")


def _nobody(owner: Door) -> Iterator[Finding]:
    url = f"{owner.key.endpoint.rstrip('/')}/{owner.bucket}/{PROBE}"
    status = httpx.get(url, timeout=20, trust_env=False).status_code
    if status not in _REFUSALS:
        yield wrong(f"{url}: answers {status} to who has no key", "the server lets anybody in: give it keys")
