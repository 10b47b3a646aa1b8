"""Signed documents: believed as what they were signed as, by keys that are trusted here, and as nothing else."""

from __future__ import annotations

import json
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tasks.config import Settings, SigningSettings
from tasks.errors import ConfigError, SignatureError
from tasks.lake import keys
from tasks.lake.signed import Statement, check, is_signed, open_json, seal_json, sign

VALUE = {"of": "b", "a": [1, 2.5, None], "text": "Spermatozoën"}
NAME = "undertakings/bull.json"


@pytest.fixture
def here(tmp_path: Path) -> Settings:
    """An installation that never signed anything."""
    return Settings(state_dir=tmp_path / "here")


@pytest.fixture
def there(tmp_path: Path) -> Settings:
    """Another machine."""
    return Settings(state_dir=tmp_path / "there")


def _sealed(settings: Settings, number: int = 3) -> bytes:
    return seal_json(settings, "undertaking", "bull", NAME, VALUE, number)


def test_what_was_signed_is_believed(here: Settings) -> None:
    opened = open_json(here, _sealed(here), "undertaking", "bull", NAME)
    assert (opened.value, opened.number) == (VALUE, 3)
    assert opened.signature.key == keys.read_trusted(here)[0].fingerprint


def test_the_private_key_is_made_once_and_for_its_owner_only(here: Settings) -> None:
    _sealed(here)
    first = here.signing_key.read_bytes()
    assert stat.S_IMODE(here.signing_key.stat().st_mode) == 0o600
    assert stat.S_IMODE(here.signing_key.parent.stat().st_mode) == 0o700
    assert b"PRIVATE KEY" not in here.trusted_keys.read_bytes()
    _sealed(here)
    assert here.signing_key.read_bytes() == first and len(keys.read_trusted(here)) == 1


def test_processes_that_sign_first_at_once_make_one_key(here: Settings) -> None:
    script = f"""
from pathlib import Path
from tasks.config import Settings
from tasks.lake.signed import seal_json
seal_json(Settings(state_dir=Path({str(here.state_dir)!r})), "night", "l", "n", 1)
"""
    started = [subprocess.Popen([sys.executable, "-c", script]) for _ in range(4)]
    assert [process.wait(timeout=60) for process in started] == [0] * 4
    (key,) = keys.read_trusted(here)
    assert key.fingerprint == keys.signing_key(here)[1]


@pytest.mark.parametrize(
    ("kind", "line", "name", "number"),
    [
        ("tombstone", "bull", NAME, None),
        ("undertaking", "boar", NAME, None),
        ("undertaking", "bull", "undertakings/boar.json", None),
        ("undertaking", "bull", NAME, 4),
    ],
)
def test_a_signature_cannot_be_played_again_elsewhere(
    here: Settings, kind: str, line: str, name: str, number: int | None
) -> None:
    data = _sealed(here)
    with pytest.raises(SignatureError, match="signed as something else"):
        open_json(here, data, kind, line, name, number=number)
    relabelled = json.loads(data) | {"kind": kind, "line": line, "name": name, "number": number or 3}
    with pytest.raises(SignatureError, match="signature is wrong"):
        open_json(here, json.dumps(relabelled).encode(), kind, line, name, number=number)


@pytest.mark.parametrize(
    "data",
    [
        b"", b"\xff\xfe", b"[]", b'{"value": 1}', b"[" * 100_000, b'{"line": "bull", "action": "promotion"}',
        b'{"kind":"undertaking","line":"bull","name":"undertakings/bull.json","number":3,"signature":null,"value":1}',
        b'{"kind":"undertaking","line":"bull","name":"undertakings/bull.json","number":true,"signature":'
        b'{"key":"k","at":"t","value":"v"},"value":1}',
    ],
)  # fmt: skip
def test_what_is_not_signed_is_not_believed(here: Settings, data: bytes) -> None:
    _sealed(here)
    with pytest.raises(SignatureError):
        open_json(here, data, "undertaking", "bull", NAME)


def test_a_changed_value_a_changed_time_and_a_foreign_key_are_refused(here: Settings, there: Settings) -> None:
    good = json.loads(_sealed(here))
    changed = good | {"value": VALUE | {"of": "c"}}
    later = good | {"signature": good["signature"] | {"at": "2099-01-01T00:00:00+00:00"}}
    for forged in (changed, later):
        with pytest.raises(SignatureError, match="signature is wrong"):
            open_json(here, json.dumps(forged).encode(), "undertaking", "bull", NAME)
    with pytest.raises(SignatureError, match="not trusted here"):
        open_json(here, _sealed(there), "undertaking", "bull", NAME)
    with pytest.raises(SignatureError, match="no key is trusted here yet"):
        open_json(Settings(state_dir=there.state_dir / "x"), _sealed(here), "undertaking", "bull", NAME)


def test_checking_makes_no_key(tmp_path: Path, here: Settings) -> None:
    auditor = Settings(state_dir=tmp_path / "auditor", signing=SigningSettings(trusted_keys=tmp_path / "keys.json"))
    data = _sealed(here)
    (tmp_path / "keys.json").write_bytes(here.trusted_keys.read_bytes())
    assert open_json(auditor, data, "undertaking", "bull", NAME).value == VALUE
    assert not auditor.signing_key.exists()


def test_a_key_that_others_can_read_is_refused(here: Settings) -> None:
    _sealed(here)
    here.signing_key.chmod(0o644)
    with pytest.raises(ConfigError, match=r"others can read.*chmod 600"):
        _sealed(here)


@pytest.mark.parametrize("damage", [b"", b"no key", None])
def test_a_lost_key_is_not_silently_replaced(here: Settings, damage: bytes | None) -> None:
    old = json.loads(_sealed(here))["signature"]["key"]
    if damage is None:
        here.signing_key.unlink()
    else:
        here.signing_key.write_bytes(damage)
    with pytest.raises(ConfigError, match="keys rotate --lost"):
        _sealed(here)
    new = keys.rotate(here, {"bull": 3}, lost=True)
    assert new.endorsed_by is None and new.fingerprint != old
    assert json.loads(_sealed(here))["signature"]["key"] == new.fingerprint


def test_a_rotated_key_is_believed_for_what_it_signed_until_then(here: Settings, there: Settings) -> None:
    old, bundle = here.signing_key, Statement("bundle", "bull", "id", 3, "0" * 64)
    before, night = sign(here, bundle), seal_json(here, "night", "bull", "n", 1)
    kept = old.read_bytes()
    new = keys.rotate(here, {"bull": 3})
    first, second = keys.read_trusted(here)
    assert (first.retired is not None, second.fingerprint) == (True, new.fingerprint)
    assert (new.endorsed_by, sign(here, bundle).key) == (first.fingerprint, new.fingerprint)
    check(here, bundle, before)
    open_json(here, night, "night", "bull", "n")

    # Somebody kept the old private key.
    there.signing_key.parent.mkdir(parents=True)
    there.signing_key.write_bytes(kept)
    there.signing_key.chmod(0o600)
    for statement in (bundle._replace(number=4), bundle._replace(line="boar"), bundle._replace(number=0)):
        with pytest.raises(SignatureError, match="rotated out"):
            check(here, statement, sign(there, statement))
    assert sign(there, bundle).key == first.fingerprint
    old.write_bytes(kept)
    with pytest.raises(ConfigError, match="rotated out, and signs nothing any more"):
        sign(here, bundle)


def test_of_a_stolen_key_only_its_place_in_the_evidence_is_believed(here: Settings) -> None:
    bundle = Statement("bundle", "bull", "id", 3, "0" * 64)
    before, night = sign(here, bundle), seal_json(here, "night", "bull", "n", 1)
    assert keys.rotate(here, {"bull": 3}, stolen=True).endorsed_by is None
    check(here, bundle, before)
    with pytest.raises(SignatureError, match="rotated out"):
        open_json(here, night, "night", "bull", "n")


@pytest.mark.parametrize("die_before", ["write_trusted", "_keep_public"])
def test_a_rotation_that_is_killed_leaves_one_key_that_signs(
    here: Settings, monkeypatch: pytest.MonkeyPatch, die_before: str
) -> None:
    class Killed(BaseException):
        pass

    def die(*_: object) -> None:
        raise Killed

    _sealed(here)
    with monkeypatch.context() as patch:
        patch.setattr(keys, die_before, die)
        with pytest.raises(Killed):
            keys.rotate(here, {})
    data = _sealed(here)
    assert open_json(here, data, "undertaking", "bull", NAME).value == VALUE
    assert sum(key.retired is None for key in keys.read_trusted(here)) == 1


def test_machines_trust_each_other(here: Settings, there: Settings) -> None:
    data = _sealed(there)
    others = keys.parse_trusted(there.trusted_keys.read_bytes(), "theirs")
    assert keys.trust(here, others) == [], "nobody here has said that it is ours"
    keys.trust(here, others, (others[0].fingerprint,))
    open_json(here, data, "undertaking", "bull", NAME)

    keys.rotate(there, {"bull": 3})  # what it signs now, its old key vouches for
    others = keys.parse_trusted(there.trusted_keys.read_bytes(), "theirs")
    changed = keys.trust(here, others)
    assert [key.retired is None for key in changed] == [False, True]
    assert open_json(here, _sealed(there), "undertaking", "bull", NAME).signature.key == others[-1].fingerprint


def test_an_endorsement_is_of_one_key(here: Settings, there: Settings, tmp_path: Path) -> None:
    _sealed(here)
    keys.rotate(here, {})
    endorsed = keys.read_trusted(here)[-1]
    _sealed(there)
    (foreign,) = keys.read_trusted(there)
    thief = foreign.model_copy(update={"endorsed_by": endorsed.endorsed_by, "endorsement": endorsed.endorsement})
    assert keys.trust(here, (thief,)) == []


def test_a_damaged_file_of_trusted_keys_is_an_error_not_an_empty_one(here: Settings) -> None:
    data = _sealed(here)
    text = here.trusted_keys.read_text()
    for damaged in ("", "{}x", text.replace("ed25519:", "ed25519:0")):
        here.trusted_keys.write_text(damaged)
        with pytest.raises(ConfigError, match="no file of trusted keys"):
            open_json(here, data, "undertaking", "bull", NAME)


def test_a_mounted_key_is_used_where_the_setting_points(tmp_path: Path) -> None:
    secret = tmp_path / "secret" / "key.pem"
    secret.parent.mkdir()
    secret.write_bytes(keys.new_private_key())
    secret.chmod(0o440)
    settings = Settings(state_dir=tmp_path / "state", signing=SigningSettings(private_key=secret))
    secret.parent.chmod(0o500)
    try:
        assert is_signed(_sealed(settings))
    finally:
        secret.parent.chmod(0o700)
