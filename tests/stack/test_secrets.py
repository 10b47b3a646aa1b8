"""Secrets: made once, for their owner only, and never shown."""

from __future__ import annotations

import base64
import json
import os
from dataclasses import asdict

import pytest

from tasks.errors import StackError
from tasks.stack.layout import Layout
from tasks.stack.secrets import load_or_create


def test_are_made_once(layout: Layout) -> None:
    assert asdict(load_or_create(layout)) == asdict(load_or_create(layout))


def test_differ_between_stacks_and_from_each_other(layout: Layout) -> None:
    other = Layout.at(layout.state_dir / "other")
    other.create()

    values = [*asdict(load_or_create(layout)).values(), *asdict(load_or_create(other)).values()]

    assert len(set(values)) == len(values)


def test_are_for_their_owner_only(layout: Layout) -> None:
    old = os.umask(0)
    try:
        load_or_create(layout)
    finally:
        os.umask(old)

    assert layout.secrets_file.stat().st_mode & 0o777 == 0o600
    assert layout.control_dir.stat().st_mode & 0o777 == 0o700
    assert layout.state_dir.stat().st_mode & 0o777 == 0o700


def test_have_the_shapes_that_their_services_want(layout: Layout) -> None:
    made = load_or_create(layout)

    assert len(made.label_studio_token) == 40
    int(made.label_studio_token, 16)
    assert len(base64.urlsafe_b64decode(made.airflow_fernet_key)) == 32
    assert len(made.s3_access_key) >= 8


def test_are_not_shown(layout: Layout) -> None:
    made = load_or_create(layout)

    assert made.s3_secret_key not in f"{made!r} {made}"


def test_a_secret_of_a_later_release_is_added_and_the_others_stay(layout: Layout) -> None:
    before = asdict(load_or_create(layout))
    layout.secrets_file.write_text(json.dumps({k: v for k, v in before.items() if k != "airflow_jwt_secret"}))

    after = asdict(load_or_create(layout))

    assert {k: v for k, v in after.items() if k != "airflow_jwt_secret"} == {
        k: v for k, v in before.items() if k != "airflow_jwt_secret"
    }
    assert after["airflow_jwt_secret"] not in before.values()
    assert asdict(load_or_create(layout)) == after


def test_a_damaged_file_is_not_replaced(layout: Layout) -> None:
    layout.secrets_file.write_text("{")

    with pytest.raises(StackError, match="cannot be read"):
        load_or_create(layout)
    assert layout.secrets_file.read_text() == "{"
