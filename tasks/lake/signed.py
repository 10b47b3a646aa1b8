"""Signed documents: what lies in S3 and decides something is believed only if a key outside S3 vouches for it.

A signature is over a `Statement`: which kind of document, of which line, by which name (its key in the bucket, say),
with which number, and the sha256 of its bytes; with the time and the signer. So it cannot be played again for another
line, another place or another kind of document.

    data = seal_json(settings, "tombstone", line, key, value)          # bytes to put into the bucket
    value = open_json(settings, data, "tombstone", line, key).value    # SignatureError unless all of that fits

    keep(lake, "night", line, key, value); kept(lake, "night", line, key)

file and find an answer that saves doing something again: what is there and not ours counts as not done yet.

Bundles of evidence, whose bytes are named by their hash, carry their signature in their table row: `sign`, `check`.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import logging
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from pydantic import ValidationError

from tasks.config import Settings
from tasks.errors import NotFound, SignatureError
from tasks.lake.conditional import Seen, put_as_seen
from tasks.lake.keys import DOMAIN, TrustedKey, canonical, public_key, read_trusted, signing_key
from tasks.schemas import Oid, Signature, Verdict, now

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from tasks.lake.lake import Lake

log = logging.getLogger(__name__)

_FIELDS = {"kind", "line", "name", "number", "value", "signature"}


class Statement(NamedTuple):
    """What a signature vouches for."""

    kind: str
    """'bundle', 'seal', 'undertaking', 'night', 'tombstone', ...: one word a kind of document."""
    line: str
    """Whose; empty: the whole lake's."""
    name: str
    """Which one: its key in the bucket, or its id."""
    number: int
    """Its place in the line's evidence; 0: it has none."""
    sha256: Oid
    """Of its bytes."""


def bundle_statement(line: str, evidence_id: str, number: int, oid: Oid) -> Statement:
    """What the signature of an evidence bundle vouches for."""
    return Statement("bundle", line, evidence_id, number, oid)


def verdict_statement(verdict: Verdict) -> Statement:
    """What the signature of a verdict vouches for."""
    signed = hashlib.sha256(verdict.signed_part()).hexdigest()
    return Statement("verdict", verdict.line, verdict.verdict_id, 0, signed)


class Opened(NamedTuple):
    """A document whose signature holds."""

    value: Any
    number: int
    signature: Signature


def sign(settings: Settings, statement: Statement) -> Signature:
    """Vouch for a document with this installation's key, which is made on first use.

    Raises:
        ConfigError: The key cannot be used; says why.
    """
    private, fingerprint = signing_key(settings)
    return sign_with(private, fingerprint, statement)


def check(settings: Settings, statement: Statement, signature: Signature | None) -> TrustedKey:
    """Make sure that a key which is believed here vouches for exactly this.

    Returns:
        The key.

    Raises:
        SignatureError: No signature, another document's, a wrong one, or by a key that is not believed (any more).
        ConfigError: The file of trusted keys cannot be read.
    """
    return check_with({key.fingerprint: key for key in read_trusted(settings)}, statement, signature)


def seal_json(settings: Settings, kind: str, line: str, name: str, value: Any, number: int = 0) -> bytes:
    """A JSON value with its signature, as bytes to store. Arguments as in `Statement`."""
    plain = json.loads(canonical(value))
    statement = Statement(kind, line, name, number, hashlib.sha256(canonical(plain)).hexdigest())
    head = {"kind": kind, "line": line, "name": name, "number": number, "value": plain}
    return canonical({**head, "signature": sign(settings, statement).model_dump()})


def keep(lake: Lake, kind: str, line: str, key: str, value: Any, seen: Seen | None = None) -> None:
    """File a signed answer under a key of the lake's bucket; where `seen` is given, only if that is still there."""
    put_as_seen(lake, key, seal_json(lake.settings, kind, line, key, value), "application/json", seen)


def kept(lake: Lake, kind: str, line: str, key: str) -> Any:
    """The answer that `keep` filed under a key; None where there is none that a trusted key vouches for.

    Whoever asks does again what was to be saved. That is always right, and what was forged, or filed before there were
    signatures, is said on the way.
    """
    try:
        data = lake.store.get_bytes(key)
    except NotFound:
        return None
    try:
        return open_json(lake.settings, data, kind, line, key).value
    except SignatureError as error:
        log.warning("s3://%s/%s is left out of account, and made anew: %s", lake.store.bucket, key, error)
        return None


def before_signing(settings: Settings, at: datetime) -> bool:
    """Whether a moment is from before anything was signed by a key that is trusted here."""
    return all(at < datetime.fromisoformat(key.added_at) for key in read_trusted(settings))


def is_signed(data: bytes) -> bool:
    """Whether it looks like what `seal_json` makes (which is no promise that the signature holds)."""
    try:
        content = json.loads(data)
    except (ValueError, RecursionError):
        return False
    return isinstance(content, dict) and content.keys() == _FIELDS


def open_json(settings: Settings, data: bytes, kind: str, line: str, name: str, *, number: int | None = None) -> Opened:
    """The value of a signed JSON document.

    Args:
        settings: Whose keys are believed.
        data: As stored.
        kind, line, name: What it must have been signed as.
        number: Its place in the line's evidence; None: any, to be looked at by the caller.

    Raises:
        SignatureError: It is not signed, or as something else, or its signature does not hold.
    """
    what = f"{kind} {name!r}"
    if not is_signed(data):
        raise SignatureError(f"{what}: is not signed", expected="a signature by a trusted key", found="none")
    content = json.loads(data)
    try:
        signature, found = Signature.model_validate(content["signature"]), content["number"]
        if isinstance(found, bool) or not isinstance(found, int):
            raise TypeError("the number is none")
        digest = hashlib.sha256(canonical(content["value"])).hexdigest()
    except (ValidationError, TypeError, ValueError, RecursionError) as error:
        raise SignatureError(f"{what}: is damaged", expected="a signed document", found=str(error)) from error
    given = (content["kind"], content["line"], content["name"])
    if given != (kind, line, name) or number not in (None, found):
        raise SignatureError(
            f"{what}: was signed as something else",
            expected=f"{kind} of line {line!r}, {name!r}{'' if number is None else f', number {number}'}",
            found=f"{given[0]} of line {given[1]!r}, {given[2]!r}, number {found}",
        )
    check(settings, Statement(kind, line, name, found, digest), signature)
    return Opened(content["value"], found, signature)


def sign_with(private: Ed25519PrivateKey, fingerprint: str, statement: Statement) -> Signature:
    """Vouch for a statement with a given key."""
    at = now().isoformat()
    value = private.sign(_message(statement, fingerprint, at))
    return Signature(key=fingerprint, at=at, value=base64.b64encode(value).decode())


def check_with(believed: Mapping[str, TrustedKey], statement: Statement, signature: Signature | None) -> TrustedKey:
    """As `check`, by given keys."""
    from cryptography.exceptions import InvalidSignature

    what = f"{statement.kind} {statement.name!r}"
    if signature is None:
        raise SignatureError(f"{what}: is not signed", expected="a signature by a trusted key", found="none")
    key = believed.get(signature.key)
    if key is None:
        raise SignatureError(
            f"{what}: is signed by a key that is not trusted here",
            expected=f"one of: {', '.join(believed) or 'no key is trusted here yet'}",
            found=signature.key,
            fix="`nightscope keys trust FILE`, if it is another machine of yours",
        )
    try:
        public_key(key).verify(
            base64.b64decode(signature.value, validate=True), _message(statement, signature.key, signature.at)
        )
    except (InvalidSignature, binascii.Error, ValueError) as error:
        raise SignatureError(
            f"{what}: its signature is wrong", expected=f"a signature by {key.fingerprint}", found="another one"
        ) from error
    waited = statement.kind == "undertaking" and key.waited(statement.line, statement.number, statement.sha256)
    if not waited and not key.believes(statement.line, statement.number, signature.at):
        raise SignatureError(
            f"{what}: is signed by a key that was rotated out before",
            expected=f"what {key.fingerprint} signed until {key.retired.at if key.retired else ''}",
            found=f"number {statement.number}, {signature.at}",
        )
    return key


def _message(statement: Statement, fingerprint: str, at: str) -> bytes:
    return DOMAIN + canonical({**statement._asdict(), "key": fingerprint, "at": at})
