"""A person's promotion and rollback, and what is said of them afterwards."""

from __future__ import annotations

import json
import time

import pytest

from tasks import evidence, steps
from tasks.errors import DataError, NotFound
from tasks.schemas import Decision, NightState
from tasks.steps.undertaking import Undertaking
from tests.steps.promoting import Scene, die


@pytest.fixture
def two(scene: Scene) -> tuple[str, str]:
    """A champion, and a version that its gates rejected."""
    first = scene.version().version
    steps.promote_model(scene.name, {}, scene.verdict(first, None))
    second = scene.version().version
    scene.verdict(second, first, Decision.REJECT)
    return first, second


def test_going_against_a_verdict_takes_an_override_and_a_reason(scene: Scene, two: tuple[str, str]) -> None:
    first, second = two
    for arguments in ({}, {"override": True}, {"override": True, "note": "  "}, {"note": "I like it"}):
        with pytest.raises(DataError, match=r"says reject.*explicit override with a note"):
            steps.promote_version(scene.name, second, by="ana", **arguments)  # type: ignore[arg-type]
    assert scene.champion() == (first, None)

    told = steps.promote_version(scene.name, second, by="ana", override=True, note="seen by eye")

    assert (told["before"], told["model_version"], told["evidence"]) == (first, second, 2)
    assert told["undo"] == f"nightscope rollback {scene.name} --to {first}"
    entry = evidence.entries(scene.lake, scene.name)[-1]
    bundle = json.loads(scene.lake.blobs.get_bytes(entry.bundle_oid))
    assert (entry.action, entry.by, entry.note, bundle["override"]) == ("promotion", "ana", "seen by eye", True)
    assert (bundle["before"]["champion"], bundle["after"]["champion"]) == (first, second)


def test_a_version_without_any_verdict_takes_an_override_too(scene: Scene, two: tuple[str, str]) -> None:
    third = scene.version().version
    with pytest.raises(DataError, match="no verdict was ever given"):
        steps.promote_version(scene.name, by="ana", note="why")
    steps.promote_version(scene.name, by="ana", note="why", override=True)
    with pytest.raises(DataError, match="no challenger waits"):
        steps.promote_version(scene.name, by="ana")
    champion = steps.describe_champion(scene.name)
    assert (champion["model_version"], champion["verdict"], champion["metrics"]) == (third, None, {})
    assert (champion["order"]["by"], champion["order"]["note"]) == ("ana", "why")


def test_a_model_that_passed_needs_no_override_even_if_asked_for(scene: Scene, two: tuple[str, str]) -> None:
    first, second = two
    scene.verdict(second, first, Decision.PROMOTE)  # a later word
    told = steps.promote_version(scene.name, second, by="ana", override=True)
    bundle = json.loads(scene.lake.blobs.get_bytes(evidence.entries(scene.lake, scene.name)[-1].bundle_oid))
    assert told["model_version"] == second and bundle["override"] is False


def test_the_way_back_takes_seconds_and_leads_back(scene: Scene, two: tuple[str, str]) -> None:
    first, second = two
    with pytest.raises(DataError, match="no champion before"):
        steps.roll_back(scene.name, by="ana")
    with pytest.raises(DataError, match="never was in charge"):
        steps.roll_back(scene.name, second, by="ana")
    steps.promote_version(scene.name, second, by="ana", override=True, note="try")
    verdict_of_first = scene.registry.version(scene.name, first).verdict_id

    begun = time.monotonic()
    told = steps.roll_back(scene.name, by="bob", note="worse on donors with few sperm")
    assert time.monotonic() - begun < 20, "under a minute was promised, for real models too"

    assert (told["before"], told["model_version"]) == (second, first)
    assert scene.champion() == (first, second)
    assert scene.registry.version(scene.name, first).verdict_id == verdict_of_first
    champion = steps.describe_champion(scene.name)
    assert (champion["order"]["state"], champion["order"]["by"]) == ("rolled_back", "bob")
    assert steps.roll_back(scene.name, by="bob")["model_version"] == second, "back again"


def test_what_became_of_every_verdict(scene: Scene, two: tuple[str, str]) -> None:
    first, second = two
    nights = {item["verdict_id"]: item["model_version"] for item in steps.list_verdicts(scene.name)}
    (of_first,) = (name for name, version in nights.items() if version == first)
    (of_second,) = (name for name, version in nights.items() if version == second)
    assert steps.list_outcomes(scene.name)[of_first]["state"] == NightState.PROMOTED
    assert of_second not in steps.list_outcomes(scene.name), "not carried out yet"
    steps.promote_version(scene.name, second, by="ana", override=True, note="try")
    steps.roll_back(scene.name, by="bob", note="no")
    found = steps.list_outcomes(scene.name)
    assert (found[of_second]["state"], found[of_second]["by"]) == (NightState.ROLLED_BACK, "bob")
    assert (found[of_first]["state"], found[of_first]["by"]) == (NightState.PROMOTED, "bob")


def test_clear_refusals(scene: Scene, two: tuple[str, str]) -> None:
    for version in ("99", "seven"):
        with pytest.raises(NotFound, match=rf"no model version '{version}'.*one of: 2, 1"):
            steps.promote_version(scene.name, version, by="ana")
    with pytest.raises(DataError, match="in charge already"):
        steps.promote_version(scene.name, two[0], by="ana")
    with pytest.raises(DataError, match="in charge already"):
        steps.roll_back(scene.name, two[0], by="ana")
    with pytest.raises(DataError, match="nobody says"):
        steps.roll_back(scene.name, by=" ")
    assert len(evidence.entries(scene.lake, scene.name)) == 1


@pytest.mark.parametrize("number", [1, 6, 11])
def test_an_order_that_was_killed_is_done_once_when_repeated(scene: Scene, two: tuple[str, str], number: int) -> None:
    first, second = two
    rest = {"by": "ana", "override": True, "note": "why", "key": "dag run 7"}
    assert die(number, "promote_version", (scene.name, second), rest) == -9
    for _ in range(2):
        told = steps.promote_version(scene.name, second, **rest)  # type: ignore[arg-type]
        assert (told["before"], told["model_version"], told["evidence"]) == (first, second, 2)
    assert scene.champion() == (second, first)


def test_what_can_never_be_finished_does_not_stop_a_rollback(scene: Scene, two: tuple[str, str]) -> None:
    first, second = two
    steps.promote_version(scene.name, second, by="ana", override=True, note="try")
    lost = Undertaking(
        line=scene.name, action="promotion", key="k", outcome=NightState.PROMOTED, model_version="77",
        before=scene.registry.aliases(scene.name),
    )  # fmt: skip
    scene.lake.store.put_bytes(f"undertakings/{scene.name}.json", lost.model_dump_json().encode())
    steps.roll_back(scene.name, by="bob")
    (aside,) = scene.lake.store.list(f"undertakings/{scene.name}/")
    assert b'"77"' in scene.lake.store.get_bytes(aside.key)
    scene.lake.store.remove(aside.key)
    assert scene.champion() == (first, second)
