"""The keys by which this installation signs, and the public keys that it believes. None of them ever lies in S3.

    <state_dir>/keys/signing-key.pem     the private key, 0600, made on first use (`signing.private_key`)
    <state_dir>/keys/signing-key.pub     its public half: who finds this one alone knows that the other was lost
    <state_dir>/keys/trusted-keys.json   public keys that are believed (`signing.trusted_keys`); copy it to auditors

Machines may share one private key, or each have its own and trust each other's (`nightscope keys trust`). A key that
was rotated out stays believed for what it signed until then: up to a number in each line's evidence, up to a time for
what has no number. Where it was stolen, nothing without a number is believed of it.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import socket
import stat
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field, ValidationError

from tasks.config import Settings
from tasks.errors import ConfigError, SignatureError
from tasks.escaping import plain_text
from tasks.lake.locks import lake_lock
from tasks.private_files import write_private
from tasks.schemas import Frozen, Signature, canonical_json, now

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

DOMAIN = b"nightscope signed statement, version 1\n"
"""What is signed begins with this, so that a signature means nothing anywhere else."""

_LOST = "restore it from a backup, or `nightscope keys rotate --lost` makes another one"


class Retirement(Frozen):
    """Since when a key signs nothing any more, and what of it is still believed."""

    at: str
    heads: dict[str, int] = Field(description="Line → number of its newest evidence then.")
    stolen: bool = False
    waiting: tuple[str, ...] = Field(
        default=(), description="Orders that waited then, `line number sha256` each: believed until they are finished."
    )


class TrustedKey(Frozen):
    """A public key that is believed."""

    fingerprint: str
    public: str = Field(description="Raw public key, base64.")
    name: str = ""
    added_at: str
    retired: Retirement | None = None
    endorsed_by: str | None = Field(default=None, description="Fingerprint of the key before it.")
    endorsement: Signature | None = None

    def believes(self, line: str, number: int, at: str) -> bool:
        """Whether what it signed is (still) believed: a place in a line's evidence, or (number 0) a time."""
        if self.retired is None:
            return True
        if number:
            return number <= self.retired.heads.get(line, 0)
        return at <= self.retired.at and not self.retired.stolen

    def waited(self, line: str, number: int, sha256: str) -> bool:
        """Whether it is an order that it signed and that was waiting when the key was rotated out."""
        return self.retired is not None and waiting_order(line, number, sha256) in self.retired.waiting


class TrustFile(Frozen):
    """What `trusted-keys.json` holds."""

    keys: tuple[TrustedKey, ...] = ()


def waiting_order(line: str, number: int, sha256: str) -> str:
    """An order that waits, as `Retirement.waiting` names it."""
    return f"{line} {number} {sha256}"


def fingerprint_of(public: bytes) -> str:
    """The name of a raw public key."""
    return f"ed25519:{hashlib.sha256(public).hexdigest()[:32]}"


def signing_key(settings: Settings) -> tuple[Ed25519PrivateKey, str]:
    """The private key and its fingerprint; made, once, where this installation never had one.

    Raises:
        ConfigError: It was lost, is open to others, is damaged, or was rotated out.
    """
    path = settings.signing_key
    with _locked(settings):
        _finish_rotation(settings)
        if not path.is_file():
            if _public_file(path).exists():
                raise ConfigError(f"{path}: the signing key is gone, its public half is still here", fix=_LOST)
            write_private(path, new_private_key())
        key = load_private_key(path, shared=settings.signing.private_key is not None)
        public = raw_public(key)
        name = fingerprint_of(public)
        known = {one.fingerprint: one for one in read_trusted(settings)}
        if name not in known:
            write_trusted(settings, [*known.values(), trusted(public)])
        elif known[name].retired:
            raise ConfigError(f"{path}: key {name} was rotated out, and signs nothing any more", fix=_LOST)
        if not _public_file(path).exists():
            _keep_public(path, public)
    return key, name


def public_key(key: TrustedKey) -> Ed25519PublicKey:
    """What checks its signatures."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    return Ed25519PublicKey.from_public_bytes(base64.b64decode(key.public))


def trusted(public: bytes, *, name: str = "", **rest: Any) -> TrustedKey:
    """A public key as the file of trusted keys has it."""
    return TrustedKey(
        fingerprint=fingerprint_of(public),
        public=base64.b64encode(public).decode(),
        name=plain_text(name or socket.gethostname(), 100),
        added_at=now().isoformat(),
        **rest,
    )


def read_trusted(settings: Settings) -> tuple[TrustedKey, ...]:
    """The keys that are believed here; none where nothing was ever signed.

    Raises:
        ConfigError: The file cannot be read, or names a key wrongly.
    """
    path = settings.trusted_keys
    try:
        return parse_trusted(path.read_bytes(), str(path))
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror})") from error


def parse_trusted(data: bytes, where: str) -> tuple[TrustedKey, ...]:
    """Keys from a file of trusted keys, e.g. another machine's.

    Raises:
        ConfigError: It is none, or names a key wrongly.
    """
    try:
        found = TrustFile.model_validate_json(data).keys
        for key in found:
            raw = base64.b64decode(key.public, validate=True)
            if len(raw) != 32 or fingerprint_of(raw) != key.fingerprint:
                raise ValueError(f"{key.fingerprint} is not the fingerprint of its key")
    except (ValidationError, ValueError, binascii.Error) as error:
        raise ConfigError(f"{where}: is no file of trusted keys: {error}", fix="restore it from a backup") from error
    return found


def write_trusted(settings: Settings, keys: list[TrustedKey]) -> None:
    """Replace the file of trusted keys.

    Raises:
        ConfigError: It cannot be written.
    """
    path = settings.trusted_keys
    try:
        write_private(path, TrustFile(keys=tuple(keys)).model_dump_json(indent=1).encode() + b"\n")
    except OSError as error:
        raise ConfigError(
            f"{path}: cannot be written ({error.strerror})", fix="add this machine's key there"
        ) from error


def rotate(
    settings: Settings,
    heads: Mapping[str, int],
    *,
    lost: bool = False,
    stolen: bool = False,
    waiting: Sequence[str] = (),
) -> TrustedKey:
    """Make a new signing key. The old one endorses it, and stays believed for what it signed until now.

    Args:
        settings: Whose key.
        heads: Line → number of its newest evidence: the old key's last word there.
        lost: The old private key is gone: nobody endorses the new one.
        stolen: Somebody else has the old one, too: believe nothing of it that has no place in the evidence, and do not
            let it endorse anybody.
        waiting: Orders (`waiting_order`) that stay believed, so that being killed before they are signed anew loses
            none.

    Returns:
        The new key.

    Raises:
        ConfigError: There is no key to rotate, or it cannot be read (and is not said to be lost).
    """
    from tasks.lake.signed import Statement, sign_with

    path, successor = settings.signing_key, _successor(settings)
    with _locked(settings):
        _finish_rotation(settings)
        old, private = _old_key(settings, lost)
        made = new_private_key()
        write_private(successor, made)
        public = raw_public(load_private_key(successor, shared=False))
        endorsed: dict[str, Any] = {}
        if private is not None and not stolen:
            statement = Statement("key", "", fingerprint_of(public), 0, hashlib.sha256(public).hexdigest())
            endorsed = {"endorsed_by": old, "endorsement": sign_with(private, old, statement)}
        new = trusted(public, **endorsed)
        gone = Retirement(
            at=now().isoformat(), heads=dict(sorted(heads.items())), stolen=stolen, waiting=tuple(waiting)
        )
        kept = [
            key.model_copy(update={"retired": gone}) if key.fingerprint == old and key.retired is None else key
            for key in read_trusted(settings)
        ]
        write_trusted(settings, [*kept, new])
        successor.replace(path)
        _keep_public(path, public)
    return new


def trust(settings: Settings, others: tuple[TrustedKey, ...], fingerprints: tuple[str, ...] = ()) -> list[TrustedKey]:
    """Believe keys of another machine: those that a key believed here endorses, and those that a person names.

    What is known here already is taken over only where it was rotated out there.

    Returns:
        The keys that are new or have changed.
    """
    changed: list[TrustedKey] = []
    with _locked(settings):
        known = {key.fingerprint: key for key in read_trusted(settings)}
        for key in others:
            have = known.get(key.fingerprint)
            if have is None and (key.fingerprint in fingerprints or _endorsed(key, known)):
                changed.append(key.model_copy(update={"added_at": now().isoformat()}))
            elif have is not None and have.retired is None and key.retired is not None:
                changed.append(have.model_copy(update={"retired": key.retired}))
            else:
                continue
            known[key.fingerprint] = changed[-1]
        if changed:
            write_trusted(settings, list(known.values()))
    return changed


def _endorsed(key: TrustedKey, known: Mapping[str, TrustedKey]) -> bool:
    from tasks.lake.signed import Statement, check_with

    raw = base64.b64decode(key.public)
    statement = Statement("key", "", key.fingerprint, 0, hashlib.sha256(raw).hexdigest())
    try:
        check_with(known, statement, key.endorsement)
    except SignatureError:
        return False
    return True


def new_private_key() -> bytes:
    """A new Ed25519 key, PEM."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    return Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def load_private_key(path: Path, *, shared: bool) -> Ed25519PrivateKey:
    """Read a private key.

    Args:
        path: Where.
        shared: It lies where an administrator put it: its group may read it, too (a mounted secret).

    Raises:
        ConfigError: It is open to others, or is no Ed25519 key.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        if mode & (0o007 if shared else 0o077):
            raise ConfigError(f"{path}: others can read the signing key (mode {mode:04o})", fix=f"chmod 600 {path}")
        key = load_pem_private_key(path.read_bytes(), password=None)
    except OSError as error:
        raise ConfigError(f"{path}: the signing key cannot be read ({error.strerror})", fix=_LOST) from error
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise ConfigError(f"{path}: is no private key ({error})", expected="PEM, Ed25519", fix=_LOST) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise ConfigError(f"{path}: wrong kind of key", expected="Ed25519", found=type(key).__name__)
    return key


def raw_public(key: Ed25519PrivateKey) -> bytes:
    """The 32 bytes of its public half."""
    return key.public_key().public_bytes_raw()


def _old_key(settings: Settings, lost: bool) -> tuple[str, Ed25519PrivateKey | None]:
    """Fingerprint of the key in use and, unless it was lost, the key."""
    path = settings.signing_key
    if not lost:
        if not path.is_file():
            raise ConfigError(f"{path}: there is no signing key to rotate", fix="`--lost`, if there was one")
        key = load_private_key(path, shared=settings.signing.private_key is not None)
        return fingerprint_of(raw_public(key)), key
    try:
        return _public_file(path).read_text().split()[0], None
    except (OSError, IndexError):
        raise ConfigError(f"{_public_file(path)}: nobody knows which key was lost") from None


def _public_file(path: Path) -> Path:
    return path.with_suffix(".pub")


def _keep_public(path: Path, public: bytes) -> None:
    with suppress(OSError):  # a mounted secret's folder may be read-only; who mounts it knows that there is a key
        write_private(_public_file(path), f"{fingerprint_of(public)} {base64.b64encode(public).decode()}\n".encode())


def _successor(settings: Settings) -> Path:
    return settings.signing_key.with_suffix(".next")


def _finish_rotation(settings: Settings) -> None:
    """A rotation that was killed: where the new key is believed already, it takes its place."""
    successor = _successor(settings)
    if not successor.is_file():
        return
    public = raw_public(load_private_key(successor, shared=False))
    if any(key.fingerprint == fingerprint_of(public) for key in read_trusted(settings)):
        successor.replace(settings.signing_key)
        _keep_public(settings.signing_key, public)
    else:
        successor.unlink()


def _locked(settings: Settings) -> AbstractContextManager[Path]:
    return lake_lock(settings, "signing-keys")


def describe(key: TrustedKey) -> dict[str, Any]:
    """A key for people and scripts."""
    return {**key.model_dump(mode="json", exclude={"endorsement"}), "active": key.retired is None}


def canonical(value: Any) -> bytes:
    """The bytes of a JSON value that are hashed and signed."""
    return canonical_json(value).encode()
