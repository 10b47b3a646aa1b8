"""Attacks on who is in charge by somebody who can write to MLflow and to S3, but not to the state folder."""

from __future__ import annotations

import json

import pytest

from tasks import evidence, operations, steps
from tasks.config import load_settings
from tasks.errors import DataError, IntegrityError, NothingToDo, SignatureError
from tasks.evidence import chain
from tasks.lake import open_lake
from tasks.promotion.in_charge import champion_of, was_in_charge
from tasks.promotion.journal import promotion_lock
from tasks.registry.promotion import INTENT, PROMOTED_AT, VERDICT
from tasks.schemas import Decision, NightState
from tasks.session import open_session
from tests.promotion.promoting import Scene
from tests.security.test_evidence import _replace_rows


def order_in_a_tag(scene: Scene, version: str, follows: str | None) -> None:
    order = {"version": version, "follows": follows, "verdict_id": None, "at": "2026-01-01T00:00:00+00:00"}
    scene.registry.client.set_registered_model_tag(scene.name, INTENT, json.dumps(order))


def named_by_verify(scene: Scene) -> list[str]:
    found = evidence.verify(open_lake(load_settings()), scene.registry, scene.name, quick=True).findings
    return [one.thing for one in found if one.cause == "signature" and INTENT in one.thing]


def test_an_order_in_a_tag_moves_no_alias_and_is_named(
    scene: Scene, two: tuple[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    first, second = two
    before = scene.registry.aliases(scene.name)
    order_in_a_tag(scene, second, first)
    assert named_by_verify(scene) == [f"tag {INTENT} of {scene.name} in MLflow, which is not carried out"]
    with promotion_lock(open_session(), scene.name):
        pass
    assert "is NOT carried out, and removed" in caplog.text
    assert scene.registry.aliases(scene.name) == before
    assert named_by_verify(scene) == []

    order_in_a_tag(scene, second, first)  # and while a real one is carried out
    third = scene.version().version
    steps.promote_model(open_session(), scene.name, {}, scene.verdict(third, first))
    assert scene.champion() == (third, first)


@pytest.mark.parametrize("how", ["named", "by the alias previous"])
def test_tags_open_no_way_back_to_what_never_was_in_charge(scene: Scene, two: tuple[str, str], how: str) -> None:
    first, second = two
    client = scene.registry.client
    client.set_model_version_tag(scene.name, second, PROMOTED_AT, "2026-01-01T00:00:00+00:00")
    client.set_model_version_tag(scene.name, second, VERDICT, scene.verdict(second, first, Decision.REJECT, salt=1))
    client.set_registered_model_alias(scene.name, "previous", second)
    with pytest.raises(DataError, match=f"version {second} never was in charge"):
        operations.roll_back(open_session(), scene.name, second if how == "named" else None, by="ana")
    assert scene.registry.aliases(scene.name).champion == first


def test_a_verdict_that_was_held_back_puts_nothing_in_charge_later(scene: Scene, two: tuple[str, str]) -> None:
    scene.configure(approval="required")
    third = scene.version().version
    verdict_id = scene.verdict(third, two[0])
    with pytest.raises(NothingToDo, match="the champion stays"):
        steps.promote_model(open_session(), scene.name, {}, verdict_id)
    for name, value in ((PROMOTED_AT, "2026-01-01T00:00:00+00:00"), (VERDICT, verdict_id)):
        scene.registry.client.set_model_version_tag(scene.name, third, name, value)
    assert not was_in_charge(scene.lake, scene.registry.version(scene.name, third))


def test_who_was_in_charge_may_come_back_without_any_tag(scene: Scene, two: tuple[str, str]) -> None:
    first, second = two
    operations.promote_version(open_session(), scene.name, second, by="ana", override=True, note="try")
    scene.registry.client.delete_model_version_tag(scene.name, first, PROMOTED_AT)
    operations.roll_back(open_session(), scene.name, by="bob")
    assert scene.champion() == (first, second)


@pytest.mark.parametrize("how", ["another row", "another version in a row", "a row became a held night", "cut off"])
def test_forged_rows_put_nobody_in_charge_and_a_person_can(scene: Scene, two: tuple[str, str], how: str) -> None:
    first, second = two
    operations.promote_version(open_session(), scene.name, second, by="ana", override=True, note="try")
    operations.roll_back(open_session(), scene.name, by="bob")
    rows = chain.entries(scene.lake, scene.name)
    last = rows[-1]
    if how == "another row":
        forged = {"number": 4, "evidence_id": "e" * 64, "model_version": second, "outcome": NightState.PROMOTED}
        rows.append(last.model_copy(update=forged))
    elif how == "another version in a row":
        rows[-1] = last.model_copy(update={"model_version": second})
    elif how == "a row became a held night":
        rows[-1] = last.model_copy(update={"outcome": NightState.HELD})
    else:
        rows.pop()
    _replace_rows(scene, rows)
    scene.registry.client.set_registered_model_alias(scene.name, "champion", second)
    kind = SignatureError if how == "another row" else IntegrityError
    with pytest.raises(kind, match="nightscope promote"):
        champion_of(open_lake(load_settings()), scene.registry, scene.name)
    operations.promote_version(
        open_session(), scene.name, first, by="carla", override=True, note="what is written there is not ours"
    )
    found = champion_of(open_lake(load_settings()), scene.registry, scene.name)
    assert found is not None and found.version == first
