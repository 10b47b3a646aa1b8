"""A person's promotion and rollback, and what is said of them afterwards."""

from __future__ import annotations

import json
import time

import pytest

from tasks import evidence, operations, steps
from tasks.errors import ConfigError, DataError, NotFound, NothingToDo
from tasks.evidence import pending_promotions
from tasks.promotion.journal import PendingPromotion
from tasks.schemas import Decision, NightState, now
from tasks.session import open_session
from tests.promotion.promoting import Scene, die


@pytest.fixture
def two(scene: Scene) -> tuple[str, str]:
    """A champion, and a version that its gates rejected."""
    first = scene.version().version
    steps.promote_model(open_session(), scene.name, {}, scene.verdict(first, None))
    second = scene.version().version
    scene.verdict(second, first, Decision.REJECT)
    return first, second


def test_going_against_a_verdict_takes_an_override_and_a_reason(scene: Scene, two: tuple[str, str]) -> None:
    first, second = two
    for arguments in ({}, {"override": True}, {"override": True, "note": "  "}, {"note": "I like it"}):
        with pytest.raises(DataError, match=r"says reject.*explicit override with a note"):
            operations.promote_version(open_session(), scene.name, second, by="ana", **arguments)  # type: ignore[arg-type]
    assert scene.champion() == (first, None)

    told = operations.promote_version(open_session(), scene.name, second, by="ana", override=True, note="seen by eye")

    assert (told.before, told.model_version, told.evidence) == (first, second, 2)
    assert told.undo == f"nightscope rollback {scene.name} --to {first}"
    entry = evidence.entries(scene.lake, scene.name)[-1]
    bundle = json.loads(scene.lake.blobs.get_bytes(entry.bundle_oid))
    assert (entry.action, entry.by, entry.note, bundle["override"]) == ("promotion", "ana", "seen by eye", True)
    assert (bundle["before"]["champion"], bundle["after"]["champion"]) == (first, second)


def test_a_version_without_any_verdict_takes_an_override_too(scene: Scene, two: tuple[str, str]) -> None:
    third = scene.version().version
    with pytest.raises(DataError, match="no verdict was ever given"):
        operations.promote_version(open_session(), scene.name, by="ana", note="why")
    operations.promote_version(open_session(), scene.name, by="ana", note="why", override=True)
    with pytest.raises(DataError, match="no challenger waits"):
        operations.promote_version(open_session(), scene.name, by="ana")
    champion = operations.describe_champion(open_session(), scene.name)
    assert (champion.model_version, champion.verdict, champion.metrics) == (third, None, {})
    assert (champion.order.by, champion.order.note) == ("ana", "why")


def test_a_model_that_passed_needs_no_override_even_if_asked_for(scene: Scene, two: tuple[str, str]) -> None:
    first, second = two
    scene.verdict(second, first, Decision.PROMOTE)  # a later word
    told = operations.promote_version(open_session(), scene.name, second, by="ana", override=True)
    bundle = json.loads(scene.lake.blobs.get_bytes(evidence.entries(scene.lake, scene.name)[-1].bundle_oid))
    assert told.model_version == second and bundle["override"] is False


def _takes_an_override(scene: Scene, version: str, why: str) -> None:
    with pytest.raises(DataError, match=rf"{why}.*explicit override with a note"):
        operations.promote_version(open_session(), scene.name, version, by="ana", note="why")
    operations.promote_version(open_session(), scene.name, version, by="ana", note="why", override=True)
    bundle = json.loads(scene.lake.blobs.get_bytes(evidence.entries(scene.lake, scene.name)[-1].bundle_oid))
    assert bundle["override"] is True and scene.champion()[0] == version


@pytest.mark.parametrize("compared", ["another", "none"])
def test_a_verdict_against_another_champion_takes_an_override(
    scene: Scene, two: tuple[str, str], compared: str
) -> None:
    third = scene.version().version
    scene.verdict(third, two[1] if compared == "another" else None)
    said = f"version {two[1]}" if compared == "another" else "no champion"
    _takes_an_override(scene, third, f"compared it with {said}, and version {two[0]} is in charge now")


def test_a_verdict_by_looser_gates_takes_an_override(scene: Scene, two: tuple[str, str]) -> None:
    scene.verdict(two[1], two[0], changes={"gate.AP50.sperm.at_least": 0.0})
    _takes_an_override(scene, two[1], "gates of its newest verdict differ .* AP50.sperm.at_least 0 instead of 0.6")


def test_a_verdict_by_the_gates_of_a_file_that_was_tightened_takes_an_override(
    scene: Scene, two: tuple[str, str]
) -> None:
    scene.verdict(two[1], two[0])
    scene.configure(gates=[{"metric": "AP50", "class": "sperm", "at_least": 0.95}])
    _takes_an_override(scene, two[1], "AP50.sperm.at_least 0.6 instead of 0.95")


def test_a_night_that_a_person_held_takes_an_override(scene: Scene, two: tuple[str, str]) -> None:
    scene.configure(approval="required")
    verdict_id = scene.verdict(two[1], two[0])
    with pytest.raises(NothingToDo):
        steps.promote_model(open_session(), scene.name, {}, verdict_id, answer=answer(False))
    scene.configure()  # a line that does not ask any more, either
    _takes_an_override(scene, two[1], r"its night was held \(evidence 2, bob: looked at it\)")


def test_a_missing_approval_takes_an_override_and_a_given_one_none(scene: Scene, two: tuple[str, str]) -> None:
    first, second = two
    approved = scene.verdict(second, first)
    scene.configure(approval="required")
    steps.promote_model(open_session(), scene.name, {}, approved, answer=answer(True))
    operations.roll_back(open_session(), scene.name, by="ana")
    # Its newest verdict compared it with `first`, and bob approved it.
    told = operations.promote_version(open_session(), scene.name, second, by="ana")
    assert told.model_version == second
    operations.roll_back(open_session(), scene.name, by="ana")
    scene.verdict(second, first, salt=1)
    _takes_an_override(scene, second, "nobody has approved its newest verdict")


@pytest.mark.parametrize("fault", ["wrong", "gone"])
def test_the_way_back_is_open_without_the_lines_file_and_the_old_verdict(
    scene: Scene, two: tuple[str, str], fault: str
) -> None:
    first, second = two
    operations.promote_version(open_session(), scene.name, second, by="ana", override=True, note="try")
    file = scene.folder / f"{scene.name}.yaml"
    if fault == "wrong":
        file.write_text("kind: telepathy")
    else:
        file.unlink()
    scene.registry.client.set_model_version_tag(scene.name, first, "nightscope.verdict", "lost")
    told = operations.roll_back(open_session(), scene.name, by="bob", note="worse")
    assert scene.champion() == (first, second)
    assert (told.verdict_id, told.note) == (None, "worse Its verdict lost is not in the lake any more.")
    with pytest.raises(ConfigError):
        operations.promote_version(open_session(), scene.name, second, by="ana", override=True, note="try")
    scene.configure()
    assert operations.describe_champion(open_session(), scene.name).verdict is None


def test_no_way_back_for_what_is_no_line(scene: Scene) -> None:
    with pytest.raises(NotFound, match="MLflow has no model of that name"):
        operations.roll_back(open_session(), "never-trained", by="ana")
    with pytest.raises(DataError, match="no line can be called that"):
        operations.roll_back(open_session(), "../elsewhere", by="ana")


def answer(approved: bool) -> dict[str, object]:
    return {"approved": approved, "by": "bob", "note": "looked at it", "at": now().isoformat()}


def test_the_way_back_takes_seconds_and_leads_back(scene: Scene, two: tuple[str, str]) -> None:
    first, second = two
    with pytest.raises(DataError, match="no champion before"):
        operations.roll_back(open_session(), scene.name, by="ana")
    with pytest.raises(DataError, match="never was in charge"):
        operations.roll_back(open_session(), scene.name, second, by="ana")
    operations.promote_version(open_session(), scene.name, second, by="ana", override=True, note="try")
    verdict_of_first = scene.registry.version(scene.name, first).verdict_id

    begun = time.monotonic()
    told = operations.roll_back(open_session(), scene.name, by="bob", note="worse on donors with few sperm")
    assert time.monotonic() - begun < 20, "under a minute was promised, for real models too"

    assert (told.before, told.model_version) == (second, first)
    assert scene.champion() == (first, second)
    assert scene.registry.version(scene.name, first).verdict_id == verdict_of_first
    champion = operations.describe_champion(open_session(), scene.name)
    assert (champion.order.state, champion.order.by) == ("rolled_back", "bob")
    assert operations.roll_back(open_session(), scene.name, by="bob").model_version == second, "back again"


def test_what_became_of_every_verdict(scene: Scene, two: tuple[str, str]) -> None:
    first, second = two
    nights = {
        verdict.verdict_id: verdict.model_version for verdict in operations.list_verdicts(open_session(), scene.name)
    }
    (of_first,) = (name for name, version in nights.items() if version == first)
    (of_second,) = (name for name, version in nights.items() if version == second)
    assert operations.list_outcomes(open_session(), scene.name)[of_first].state == NightState.PROMOTED
    assert of_second not in operations.list_outcomes(open_session(), scene.name), "not carried out yet"
    operations.promote_version(open_session(), scene.name, second, by="ana", override=True, note="try")
    operations.roll_back(open_session(), scene.name, by="bob", note="no")
    found = operations.list_outcomes(open_session(), scene.name)
    assert (found[of_second].state, found[of_second].by) == (NightState.ROLLED_BACK, "bob")
    assert (found[of_first].state, found[of_first].by) == (NightState.PROMOTED, "bob")


def test_clear_refusals(scene: Scene, two: tuple[str, str]) -> None:
    for version in ("99", "seven"):
        with pytest.raises(NotFound, match=rf"no model version '{version}'.*one of: 2, 1"):
            operations.promote_version(open_session(), scene.name, version, by="ana")
    with pytest.raises(DataError, match="in charge already"):
        operations.promote_version(open_session(), scene.name, two[0], by="ana")
    with pytest.raises(DataError, match="in charge already"):
        operations.roll_back(open_session(), scene.name, two[0], by="ana")
    with pytest.raises(DataError, match="nobody says"):
        operations.roll_back(open_session(), scene.name, by=" ")
    assert len(evidence.entries(scene.lake, scene.name)) == 1


@pytest.mark.parametrize("number", [1, 6, 11])
def test_an_order_that_was_killed_is_done_once_when_repeated(scene: Scene, two: tuple[str, str], number: int) -> None:
    first, second = two
    rest = {"by": "ana", "override": True, "note": "why", "key": "dag run 7"}
    assert die(number, "promote_version", (scene.name, second), rest) == -9
    for _ in range(2):
        told = operations.promote_version(open_session(), scene.name, second, **rest)  # type: ignore[arg-type]
        assert (told.before, told.model_version, told.evidence) == (first, second, 2)
    assert scene.champion() == (second, first)


def test_what_can_never_be_finished_does_not_stop_a_rollback(scene: Scene, two: tuple[str, str]) -> None:
    first, second = two
    operations.promote_version(open_session(), scene.name, second, by="ana", override=True, note="try")
    lost = PendingPromotion(
        line=scene.name, action="promotion", key="k", outcome=NightState.PROMOTED, model_version="77",
        before=scene.registry.aliases(scene.name),
    )  # fmt: skip
    data = pending_promotions.sealed(scene.lake.settings, scene.name, lost, 3)
    scene.lake.store.put_bytes(pending_promotions.key_of(scene.name), data)
    operations.roll_back(open_session(), scene.name, by="bob")
    (aside,) = scene.lake.store.list(f"undertakings/{scene.name}/")
    assert b'"77"' in scene.lake.store.get_bytes(aside.key)
    scene.lake.store.remove(aside.key)
    assert scene.champion() == (first, second)
