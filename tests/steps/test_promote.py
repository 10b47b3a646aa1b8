"""A night's end against the real MLflow and lake: once, whole, recorded; killed anywhere, finished by the next run."""

from __future__ import annotations

import contextlib
import json

import pytest

from tasks import evidence, operations, steps
from tasks.errors import DataError, NothingToDo
from tasks.evidence import pending_promotions
from tasks.promotion.journal import PendingPromotion, promotion_lock
from tasks.schemas import Decision, NightState, now
from tasks.session import open_session
from tasks.steps.change_detection import finished_night, run_fingerprint
from tests.promotion.promoting import Scene, die, processes, race, start


def answer(approved: bool, by: str | None = "ana", note: str = "looked at it") -> dict[str, object]:
    return {"approved": approved, "by": by, "note": note, "at": now().isoformat()}


def night(scene: Scene, verdict_id: str, **rest: object) -> NightState:
    """Carry out a verdict; returns how it was recorded."""
    with contextlib.suppress(NothingToDo):
        steps.promote_model(open_session(), scene.name, {}, verdict_id, **rest)  # type: ignore[arg-type]
    found = evidence.find(scene.lake, scene.name, "night", verdict_id)
    assert found is not None
    return found.outcome


@pytest.fixture
def two(scene: Scene) -> tuple[str, str]:
    """Two versions, the first of which took charge by its night."""
    first = scene.version().version
    assert night(scene, scene.verdict(first, None)) is NightState.PROMOTED
    return first, scene.version().version


def test_every_outcome_is_recorded_once_and_filed(scene: Scene, two: tuple[str, str]) -> None:
    first, second = two
    for word, outcome in (
        (Decision.HOLD, NightState.HELD),
        (Decision.REJECT, NightState.REJECTED),
        (Decision.INSUFFICIENT_DATA, NightState.INSUFFICIENT_DATA),
        (Decision.PROMOTE, NightState.PROMOTED),
    ):
        verdict_id = scene.verdict(second, first, word)
        for _ in range(2):
            assert night(scene, verdict_id, news=f"news-{word}") is outcome
        filed = finished_night(scene.lake, scene.name, f"news-{word}")
        assert filed is not None and filed["outcome"] == outcome
    assert scene.champion() == (second, first)
    found = evidence.entries(scene.lake, scene.name)
    assert [entry.number for entry in found] == [1, 2, 3, 4, 5]


def test_a_night_is_filed_by_its_training_and_its_gates(scene: Scene, two: tuple[str, str]) -> None:
    night(scene, scene.verdict(two[1], two[0], Decision.HOLD))
    line = open_session().line(scene.name)
    assert finished_night(scene.lake, scene.name, run_fingerprint("k" * 64, line)) is not None
    for change in ({"gate.AP50.sperm.at_least": 0.1}, {"evaluation.min_clusters": 7}):
        assert finished_night(scene.lake, scene.name, run_fingerprint("k" * 64, line.with_changes(change))) is None, (
            change
        )


def test_a_dry_run_changes_records_and_files_nothing(scene: Scene, two: tuple[str, str]) -> None:
    verdict_id = scene.verdict(two[1], two[0])
    with pytest.raises(NothingToDo, match="dry run"):
        steps.promote_model(open_session(), scene.name, {}, verdict_id, news="n", dry_run=True)
    assert scene.champion() == (two[0], None)
    assert evidence.find(scene.lake, scene.name, "night", verdict_id) is None
    assert finished_night(scene.lake, scene.name, "n") is None


def test_a_line_that_asks_for_a_person_promotes_by_nothing_else(scene: Scene, two: tuple[str, str]) -> None:
    first, second = two
    scene.configure(approval="required")
    for salt, (said, why) in enumerate(
        [
            (None, "nobody was asked"),
            (answer(False), "ana said hold: looked at it"),
            (answer(False, None, "nobody answered within 72 hours"), "nobody answered within 72 hours"),
        ]
    ):
        verdict_id = scene.verdict(second, first, salt=salt)
        with pytest.raises(NothingToDo, match=why):
            steps.promote_model(open_session(), scene.name, {}, verdict_id, answer=said)
        assert night(scene, verdict_id, answer=answer(True)) is NightState.HELD, "what was decided is decided"
    assert scene.champion() == (first, None)

    approved = scene.verdict(second, first, salt=9)
    assert steps.promote_model(open_session(), scene.name, {}, approved, answer=answer(True)).by == "ana"
    recorded = evidence.find(scene.lake, scene.name, "night", approved)
    assert recorded is not None and (recorded.by, recorded.note) == ("ana", "looked at it")
    assert scene.champion() == (second, first)


LOOSER = {"gate.AP50.sperm.at_least": 0.0}
DIFFERS = "This run's gates differ from the line's file: AP50.sperm.at_least 0 instead of 0.6."


@pytest.mark.parametrize("changes", [LOOSER, {"evaluation.min_clusters": 2}])
def test_looser_gates_promote_nothing_without_an_override(
    scene: Scene, two: tuple[str, str], changes: dict[str, float]
) -> None:
    for salt, order in enumerate(
        [{}, {"override": True, "by": "ana"}, {"override": True, "note": " ", "by": "ana"},
         {"override": True, "note": "why"}, {"note": "why", "by": "ana"}, {"answer": answer(True)}]
    ):  # fmt: skip
        verdict_id = scene.verdict(two[1], two[0], salt=salt, changes=changes)
        # Whoever carries it out need not say that the gates were changed: the verdict keeps how it was judged.
        with pytest.raises(NothingToDo, match=r"held: This run's gates differ .*override with a note.*--override"):
            steps.promote_model(open_session(), scene.name, changes if salt % 2 else {}, verdict_id, **order)  # type: ignore[arg-type]
        assert night(scene, verdict_id, override=True, note="x", by="ana") is NightState.HELD, "decided is decided"
    assert scene.champion() == (two[0], None)


def test_an_override_of_looser_gates_is_recorded(scene: Scene, two: tuple[str, str]) -> None:
    verdict_id = scene.verdict(two[1], two[0], changes=LOOSER)
    with pytest.raises(NothingToDo, match=f"dry run.*{DIFFERS}"):
        steps.promote_model(open_session(), scene.name, LOOSER, verdict_id, dry_run=True)
    told = steps.promote_model(open_session(), scene.name, LOOSER, verdict_id, override=True, note="a test", by="ana")
    assert (told.by, told.differs) == ("ana", DIFFERS)
    assert scene.champion() == (two[1], two[0])
    entry = evidence.entries(scene.lake, scene.name)[-1]
    bundle = json.loads(scene.lake.blobs.get_bytes(entry.bundle_oid))
    assert (entry.by, entry.note, bundle["override"]) == ("ana", f"{DIFFERS} a test", True)


def test_stricter_gates_are_marked_and_promote(scene: Scene, two: tuple[str, str]) -> None:
    verdict_id = scene.verdict(two[1], two[0], changes={"gate.AP50.sperm.at_least": 0.7})
    assert night(scene, verdict_id, override=True, note="unasked", by="ana") is NightState.PROMOTED
    entry = evidence.entries(scene.lake, scene.name)[-1]
    assert "at_least 0.7 instead of 0.6" in entry.note and entry.by is None
    assert json.loads(scene.lake.blobs.get_bytes(entry.bundle_oid))["override"] is False


def test_what_looser_gates_rejected_is_marked_too(scene: Scene, two: tuple[str, str]) -> None:
    verdict_id = scene.verdict(two[1], two[0], Decision.REJECT, changes=LOOSER)
    assert night(scene, verdict_id, override=True, note="x", by="ana") is NightState.REJECTED
    assert evidence.entries(scene.lake, scene.name)[-1].note == DIFFERS


def test_looser_gates_take_an_override_and_an_approval(scene: Scene, two: tuple[str, str]) -> None:
    scene.configure(approval="required")
    verdict_id = scene.verdict(two[1], two[0], changes=LOOSER)
    with pytest.raises(NothingToDo, match="nobody is asked"):
        steps.approval_request(open_session(), scene.name, LOOSER, verdict_id, report_url="u")
    asked = steps.approval_request(
        open_session(), scene.name, LOOSER, verdict_id, report_url="u", override=True, note="a test", asked_by="bob"
    )
    differs = DIFFERS.replace("_", "\\_")  # in Markdown
    assert asked.body.startswith(f"**{differs}**\n\n**The run overrides that: `a test`**")
    order = {"override": True, "note": "a test", "by": "bob"}
    assert night(scene, verdict_id, **order) is NightState.HELD
    again = scene.verdict(two[1], two[0], salt=1, changes=LOOSER)
    assert night(scene, again, answer=answer(True), **order) is NightState.PROMOTED
    entry = evidence.entries(scene.lake, scene.name)[-1]
    bundle = json.loads(scene.lake.blobs.get_bytes(entry.bundle_oid))
    assert (entry.by, bundle["approval"]["by"]) == ("bob", "ana")
    assert entry.note == f"{DIFFERS} a test looked at it"


def test_a_model_in_charge_is_not_judged_again_by_other_gates(scene: Scene, two: tuple[str, str]) -> None:
    (verdict,) = operations.list_verdicts(open_session(), scene.name)
    taken = steps.evaluate_models(open_session(), scene.name, {}, scene.dataset_version, two[0]).evaluation_oid
    assert taken == verdict.evaluation_oid
    for changes in (LOOSER, {"gate.AP50.sperm.at_least": 0.7}, {"evaluation.min_clusters": 7}):
        with pytest.raises(NothingToDo, match=f"version {two[0]} is in charge already; the gates"):
            steps.evaluate_models(open_session(), scene.name, changes, scene.dataset_version, two[0])
    scene.configure(evaluation={"resamples": 300})
    with pytest.raises(NothingToDo, match="is in charge already; the gates"):
        steps.evaluate_models(open_session(), scene.name, {}, scene.dataset_version, two[0])


def test_who_put_a_model_in_charge_that_was_never_judged(scene: Scene, two: tuple[str, str]) -> None:
    operations.promote_version(open_session(), scene.name, two[1], by="ana", override=True, note="why")
    with pytest.raises(NothingToDo, match=rf"version {two[1]} was put in charge by evidence 2 \(ana\)"):
        steps.evaluate_models(open_session(), scene.name, {}, scene.dataset_version, two[1])
    third = scene.version().version
    scene.registry.client.set_registered_model_alias(scene.name, "champion", third)
    with pytest.raises(DataError, match=f"version {third} is called champion in MLflow without a verdict of ours"):
        steps.evaluate_models(open_session(), scene.name, {}, scene.dataset_version, third)


def test_what_the_gates_rejected_cannot_be_approved(scene: Scene, two: tuple[str, str]) -> None:
    scene.configure(approval="required")
    verdict_id = scene.verdict(two[1], two[0], Decision.REJECT)
    with pytest.raises(NothingToDo, match="nothing to approve"):
        steps.approval_request(open_session(), scene.name, {}, verdict_id, report_url="u")
    assert night(scene, verdict_id, answer=answer(True)) is NightState.REJECTED
    assert scene.champion() == (two[0], None)


def test_the_question_shows_what_it_takes_to_answer_it(scene: Scene, two: tuple[str, str]) -> None:
    verdict_id = scene.verdict(two[1], two[0])
    asked = steps.approval_request(open_session(), scene.name, {}, verdict_id, report_url="http://airflow.test/report")
    assert asked.subject == f"Sperm <detector>: may version {two[1]} take charge instead of version {two[0]}?"
    assert "(http://airflow.test/report)" in asked.body and "72 hours" in asked.body
    numbers = "0.900 (0.850 to 0.950, 95%) | 0.900 | +0.010 (-0.010 to 0.030, 95%)"
    assert f"| AP50, class.sperm | {numbers} |" in asked.body
    assert "| `AP50.at_least` | promote | a \\| b |" in asked.body
    with pytest.raises(NothingToDo, match="dry run"):
        steps.approval_request(open_session(), scene.name, {}, verdict_id, report_url="u", dry_run=True)
    night(scene, verdict_id)
    with pytest.raises(NothingToDo, match="carried out already"):
        steps.approval_request(open_session(), scene.name, {}, verdict_id, report_url="u")


def test_of_two_nights_against_the_same_champion_one_wins(scene: Scene, two: tuple[str, str]) -> None:
    first, second = two
    third = scene.version().version
    nights = {scene.verdict(version, first): version for version in (second, third)}
    barrier, results = processes.Barrier(2), processes.Queue()
    started = [start(race, barrier, results, scene.name, verdict_id) for verdict_id in nights]
    said = dict(results.get(timeout=120) for _ in started)
    for process in started:
        process.join()
    winner = next(verdict_id for verdict_id, word in said.items() if word == "promoted")
    (loser,) = set(said) - {winner}
    assert "run the night again" in said[loser]
    assert scene.champion() == (nights[winner], first)
    ended = {entry.verdict_id: entry.outcome for entry in evidence.entries(scene.lake, scene.name)}
    assert (ended[winner], ended[loser]) == (NightState.PROMOTED, NightState.FAILED)

    operations.roll_back(open_session(), scene.name, by="ana")  # the champion that the loser was compared with is back
    assert night(scene, loser) is NightState.PROMOTED


def test_killed_before_any_write_the_next_run_finishes_it(scene: Scene, two: tuple[str, str]) -> None:
    first, second = two
    # Every second write: a rollback has one write less (the version's verdict), so the two meet each other's gaps.
    survived, number = False, 0
    while not survived:
        verdict_id = scene.verdict(second, first, salt=number)
        codes = []
        codes += [die(number, "promote_model", (scene.name, {}, verdict_id), {"news": str(number)})]
        assert night(scene, verdict_id, news=str(number)) is NightState.PROMOTED
        assert scene.champion() == (second, first)
        assert finished_night(scene.lake, scene.name, str(number)) is not None
        # A rollback that was killed is finished by the next night, unless it was killed before it began.
        codes += [die(number, "roll_back", (scene.name,), {"by": "ana", "key": str(number)})]
        survived = codes == [0, 0]
        number += 2
    assert scene.champion() == (first, second)
    assert number > 15, "there are more writes than that"
    found = evidence.entries(scene.lake, scene.name)
    assert [entry.number for entry in found] == list(range(1, number + 1))
    assert [entry.outcome for entry in found[:4]] == [NightState.PROMOTED] * 3 + [NightState.ROLLED_BACK]
    assert {entry.by for entry in found if entry.outcome is NightState.ROLLED_BACK} == {"ana"}


def test_another_persons_order_finishes_a_promotion_that_was_killed(scene: Scene, two: tuple[str, str]) -> None:
    first, second = two
    verdict_id = scene.verdict(second, first)
    assert die(4, "promote_model", (scene.name, {}, verdict_id), {}) == -9
    assert evidence.find(scene.lake, scene.name, "night", verdict_id) is None

    undone = operations.roll_back(open_session(), scene.name, by="ana")

    assert (undone.before, undone.model_version, undone.evidence) == (second, first, 3)
    assert evidence.find(scene.lake, scene.name, "night", verdict_id) is not None
    assert scene.champion() == (first, second)


def test_after_a_rollback_a_night_is_not_carried_out_again(scene: Scene, two: tuple[str, str]) -> None:
    verdict_id = scene.verdict(two[1], two[0])
    night(scene, verdict_id)
    operations.roll_back(open_session(), scene.name, by="ana", note="misses the small ones")
    with pytest.raises(NothingToDo, match="carried out on"):
        steps.promote_model(open_session(), scene.name, {}, verdict_id)
    assert scene.champion() == (two[0], two[1])


def test_a_verdict_of_another_line_is_refused(scene: Scene, two: tuple[str, str]) -> None:
    scene.configure()
    with pytest.raises(DataError, match="one of line sperm-detector"):
        scene.lake.settings.lines_dir.joinpath("sperm-detector.yaml").write_text(
            (scene.folder / f"{scene.name}.yaml").read_text().replace(scene.name, "sperm-detector")
        )
        steps.promote_model(open_session(), "sperm-detector", {}, scene.verdict(two[1], two[0]))


@pytest.mark.parametrize("took_effect", [True, False])
def test_of_a_broken_off_promotion_without_verdict_what_took_effect_is_recorded(
    scene: Scene, two: tuple[str, str], took_effect: bool
) -> None:
    """The row of its verdict is lost between the kill and the next order."""
    first, second = two
    begun = PendingPromotion(
        line=scene.name, action="night", key="lost", outcome=NightState.PROMOTED, verdict_id="lost",
        before=scene.registry.aliases(scene.name), model_version=second,
    )  # fmt: skip
    data = pending_promotions.sealed(scene.lake.settings, scene.name, begun, 2)
    scene.lake.store.put_bytes(pending_promotions.key_of(scene.name), data)
    if took_effect:
        scene.registry.promote(scene.name, second, None)
    with promotion_lock(open_session(), scene.name):
        pass
    recorded = evidence.find(scene.lake, scene.name, "night", "lost")
    aside = [info.key for info in scene.lake.store.list(f"undertakings/{scene.name}")]
    if took_effect:
        assert recorded is not None and "verdict 'lost'" in recorded.note and aside == []
        assert scene.champion() == (second, first)
    else:
        assert recorded is None and len(aside) == 1 and aside[0].startswith(f"undertakings/{scene.name}/")
        assert scene.registry.aliases(scene.name).champion == first
