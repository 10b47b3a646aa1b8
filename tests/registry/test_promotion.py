"""Promotion against the real MLflow, broken off after every single call."""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import Any

import pytest

from tasks.errors import NotFound
from tasks.registry import ModelRecord, Registry
from tasks.registry import promotion as promotion_module
from tasks.schemas import Aliases
from tests.registry.making import make_version


class Killed(BaseException):
    """What a kill -9 looks like from inside: nothing catches it."""


class Fragile:
    """A client that dies after so many writes."""

    def __init__(self, client: Any, writes: int) -> None:
        self._client, self._left = client, writes
        self.writes = 0

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._client, name)
        if not name.startswith(("set_", "delete_", "create_", "log_", "finalize_")):
            return method

        def call(*args: Any, **kwargs: Any) -> Any:
            if self._left == 0:
                raise Killed
            self._left -= 1
            self.writes += 1
            return method(*args, **kwargs)

        return call


@pytest.fixture
def line() -> str:
    return f"line-{uuid.uuid4().hex[:8]}"


@pytest.fixture
def two(registry: Registry, line: str, tmp_path: Path) -> tuple[ModelRecord, ModelRecord]:
    """Two versions, the first of which is champion."""
    first = make_version(registry, line, "a" * 64, tmp_path)
    registry.promote(line, first.version, "verdict-1")
    return first, make_version(registry, line, "b" * 64, tmp_path)


def aliases(registry: Registry, line: str) -> dict[str, str]:
    return {k: str(v) for k, v in registry.client.get_registered_model(line).aliases.items()}


def test_the_first_champion_follows_nobody(registry: Registry, line: str, tmp_path: Path) -> None:
    record = make_version(registry, line, "a" * 64, tmp_path)
    assert record.aliases == ("challenger",)
    assert registry.champion(line) is None
    promoted = registry.promote(line, record.version, "verdict-1")
    assert aliases(registry, line) == {"champion": record.version}
    assert promoted.verdict_id == "verdict-1"
    assert promoted.promoted_at is not None
    assert registry.champion(line) == promoted


def test_the_old_champion_becomes_previous(registry: Registry, line: str, two: tuple[ModelRecord, ModelRecord]) -> None:
    old, new = two
    assert aliases(registry, line) == {"champion": old.version, "challenger": new.version}
    registry.promote(line, new.version, "verdict-2")
    assert aliases(registry, line) == {"champion": new.version, "previous": old.version}


def test_promoting_again_changes_nothing(registry: Registry, line: str, two: tuple[ModelRecord, ModelRecord]) -> None:
    once = registry.promote(line, two[1].version, "verdict-2")
    assert registry.promote(line, two[1].version, "verdict-2") == once
    assert aliases(registry, line) == {"champion": two[1].version, "previous": two[0].version}


@pytest.mark.parametrize("writes", range(5))
def test_killed_after_any_call_a_rerun_ends_in_the_same_state(
    registry: Registry, line: str, two: tuple[ModelRecord, ModelRecord], writes: int
) -> None:
    old, new = two
    with pytest.raises(Killed):
        promotion_module.promote(Fragile(registry.client, writes), line, new.version, "verdict-2")
    champion = registry.champion(line)
    assert champion is not None
    assert champion.version in {old.version, new.version}

    registry.promote(line, new.version, "verdict-2")

    assert aliases(registry, line) == {"champion": new.version, "previous": old.version}
    assert registry.client.get_registered_model(line).tags == {}
    assert registry.version(line, new.version).verdict_id == "verdict-2"


def test_five_writes_are_all_there_are(registry: Registry, line: str, two: tuple[ModelRecord, ModelRecord]) -> None:
    client = Fragile(registry.client, 100)
    promotion_module.promote(client, line, two[1].version, "verdict-2")
    assert client.writes == 5, "the test above must break off after each of them"


def test_what_a_tag_orders_is_never_done(
    registry: Registry, line: str, two: tuple[ModelRecord, ModelRecord], caplog: pytest.LogCaptureFixture
) -> None:
    """As an earlier Nightscope wrote it, and as anybody can who may log a run."""
    old, new = two
    order = {"version": new.version, "follows": None, "verdict_id": "v", "at": "2026-01-01T00:00:00+00:00"}
    before = registry.client.get_model_version(line, new.version).tags
    for again in (registry.settle, lambda line: registry.promote(line, old.version, "verdict-1")):
        registry.client.set_registered_model_tag(line, promotion_module.INTENT, json.dumps(order))
        again(line)
        assert "is NOT carried out, and removed" in caplog.text
        assert registry.client.get_registered_model(line).tags == {}
        assert aliases(registry, line) == {"champion": old.version, "challenger": new.version}
        assert registry.client.get_model_version(line, new.version).tags == before


def test_a_version_that_is_not_there_cannot_be_promoted(
    registry: Registry, line: str, two: tuple[ModelRecord, ModelRecord]
) -> None:
    with pytest.raises(NotFound):
        registry.promote(line, "99", "verdict")
    assert aliases(registry, line)["champion"] == two[0].version


@pytest.mark.parametrize("writes", range(3))
def test_a_rollback_that_was_killed_is_completed_and_keeps_the_verdict(
    registry: Registry, line: str, two: tuple[ModelRecord, ModelRecord], writes: int
) -> None:
    old, new = two
    registry.promote(line, new.version, "verdict-2")
    fragile = Registry(Fragile(registry.client, writes), registry.url)  # type: ignore[arg-type]
    with pytest.raises(Killed):
        fragile.roll_back(line, old.version)

    record = registry.roll_back(line, old.version)

    assert registry.aliases(line) == Aliases(champion=old.version, previous=new.version)
    assert registry.client.get_registered_model(line).tags == {}
    assert record.verdict_id == "verdict-1", "it was put in charge by its own verdict, and still is"
    assert registry.roll_back(line, old.version) == record, "again changes nothing"


def test_aliases_are_read_at_once(registry: Registry, line: str, two: tuple[ModelRecord, ModelRecord]) -> None:
    assert registry.aliases(line) == Aliases(champion=two[0].version, challenger=two[1].version)
    assert registry.aliases("nobody") == Aliases()


def test_a_person_may_promote_without_a_verdict(
    registry: Registry, line: str, two: tuple[ModelRecord, ModelRecord]
) -> None:
    record = registry.promote(line, two[1].version, None)
    assert record.verdict_id is None and record.promoted_at is not None
    assert registry.aliases(line) == Aliases(champion=two[1].version, previous=two[0].version)
