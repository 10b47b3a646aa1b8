"""The journal finishes what an older Nightscope wrote down: its keys and fields in the lake keep their spelling."""

from __future__ import annotations

import pytest

from tasks import evidence, steps
from tasks.lake.signed import seal_json
from tasks.promotion.journal import promotion_lock
from tasks.schemas import NightState
from tasks.session import open_session
from tests.promotion.promoting import Scene


@pytest.fixture
def two(scene: Scene) -> tuple[str, str]:
    """A champion, and a version that waits to take charge."""
    first = scene.version().version
    steps.promote_model(open_session(), scene.name, {}, scene.verdict(first, None))
    return first, scene.version().version


def written_down(scene: Scene, version: str, number: int) -> tuple[str, bytes]:
    """An order as Nightscope 0.1 wrote it down, letter by letter, and its key."""
    key = f"undertakings/{scene.name}.json"
    order = {
        "line": scene.name,
        "action": "promotion",
        "key": "an order of before",
        "outcome": "promoted",
        "before": scene.registry.aliases(scene.name).model_dump(mode="json"),
        "verdict_id": None,
        "model_version": version,
        "answer": None,
        "by": "os:1000/alice",
        "asked_by": "os:1000/alice",
        "note": "written down before the upgrade",
        "override": True,
    }
    return key, seal_json(scene.lake.settings, "undertaking", scene.name, key, order, number)


def test_a_promotion_that_an_older_version_began_is_finished(scene: Scene, two: tuple[str, str]) -> None:
    key, data = written_down(scene, two[1], number=2)
    scene.lake.store.put_bytes(key, data)
    with promotion_lock(open_session(), scene.name):
        pass
    assert scene.champion() == (two[1], two[0])
    entry = evidence.entries(scene.lake, scene.name)[-1]
    assert (entry.number, entry.outcome, entry.by) == (2, NightState.PROMOTED, "os:1000/alice")
    assert entry.note == "written down before the upgrade"


def test_an_order_of_before_for_another_place_is_not_carried_out(
    scene: Scene, two: tuple[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    key, data = written_down(scene, two[1], number=7)
    scene.lake.store.put_bytes(key, data)
    with promotion_lock(open_session(), scene.name):
        pass
    assert scene.registry.aliases(scene.name).champion == two[0]
    assert "it is NOT carried out" in caplog.text
    (aside,) = scene.lake.store.list(f"undertakings/{scene.name}/")
    assert scene.lake.store.get_bytes(aside.key) == data
