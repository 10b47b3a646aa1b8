"""The card says what was measured, where it is weak, and what it is not for."""

from __future__ import annotations

from tasks.evidence import chain
from tasks.evidence.model_card import NOT_MEDICAL, escape, intended_use
from tasks.evidence.record import judged_line
from tests.evaluation.world import a_line
from tests.evidence.world import Nights


def test_the_card_of_a_model(nights: Nights) -> None:
    entry = nights.night("a" * 64)
    bundle = chain.load(nights.lake, entry.bundle_oid)
    card = nights.lake.blobs.get_bytes(str(bundle.card_oid)).decode()
    assert NOT_MEDICAL in card
    assert "finds, marks and counts sperm and impurity" in card
    for heading in ("Intended use", "Data", "Metrics", "Limits", "Gates and verdict", "Training", "How to load it"):
        assert f"\n## {heading}\n" in card
    assert bundle.verdict is not None
    assert f"| AP50 | {bundle.verdict.metrics['AP50']:.3f} (" in card
    assert "| class sperm | AP50 |" in card and "| size small | AP50 |" in card
    assert "Among its weakest: " in card
    assert "The test split holds 3 test recordings; 5 are wanted" in card
    assert "compared with no other model" in card
    assert "the val split is empty" in card
    assert "cumsum\\_cuda\\_kernel" in card
    assert f"nightscope verify {nights.line.line} {entry.model_version}" in card
    assert "Sperm \\<detector\\>" in card, "text of people must stay text"
    assert "None" not in card and "nan" not in card


def test_mlflow_shows_it_in_short(nights: Nights) -> None:
    entry = nights.night("a" * 64)
    shown = nights.registry.client.get_model_version(nights.line.line, str(entry.model_version))
    assert NOT_MEDICAL in shown.description
    assert entry.bundle_oid in shown.description


def test_the_lines_own_words_come_first() -> None:
    assert intended_use(a_line(intended_use="Counts bull sperm."), {}) == "Counts bull sperm."
    assert "marks and counts egg in single frames" in intended_use(None, {"kind": "detection", "classes": ["egg"]})
    assert "looks for egg in single frames" in intended_use(None, {"kind": "gone", "classes": ["egg"]})


def test_text_cannot_become_markup() -> None:
    assert escape("a|b\n<script>[x](y)") == "a\\|b \\<script\\>\\[x\\](y)"


def test_the_line_is_judged_with_its_classes_in_their_order(nights: Nights) -> None:
    verdict = nights.judge(nights.train("a" * 64), 0.1)
    line = judged_line(nights.lake, verdict)
    assert line is not None and tuple(line.classes) == ("sperm", "impurity")
