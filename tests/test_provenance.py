"""A digest of code changes when the code could make another result, and only then."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tasks import provenance
from tasks.provenance import DECIDING, ROOT, Result, code_below, code_of, files_of, meaning_of

SOURCE = '''"""Explain."""
import logging

log = logging.getLogger(__name__)
LEVEL = 3


class Box(Base):
    """A box."""

    side: int = Field(default=1, gt=0, description="In pixels.")
    """Of one side."""


def area(box):
    """Compute the area."""
    # why
    log.info("computing %s of %s", "area", box)
    if box.side < 0:
        raise ValueError(f"a side of {box.side}")
    print(f"side {box.side}")
    return box.side ** 2
'''
READ_ONLY = {
    "a docstring": ('"""Explain."""', '"""Explain better."""'),
    "a class's docstring": ('"""A box."""', '"""A square box, in the plane."""'),
    "a field's docstring": ('"""Of one side."""', '"""Of each side."""'),
    "no docstring": ('    """Compute the area."""\n', "    pass\n"),
    "a comment": ("# why", "# because"),
    "a log's text": ('"computing %s of %s", "area"', '"now for %s of %s", "the area"'),
    "a message": ('f"a side of {box.side}"', 'f"the side {box.side} is negative"'),
    "what is printed": ('f"side {box.side}"', 'f"its side is {box.side} px"'),
    "a description": ('"In pixels."', '"In pixels, of one side."'),
    "layout": ("return box.side ** 2", "return (\n        box.side**2\n    )"),
}
DECIDES = {
    "a constant": ("LEVEL = 3", "LEVEL = 4"),
    "an operator": ("** 2", "* 2"),
    "a default": ("default=1", "default=2"),
    "a bound": ("gt=0", "ge=0"),
    "a condition": ("< 0", "<= 0"),
    "a name": ("LEVEL", "LIMIT"),
    "what is computed for a message": ('f"side {box.side}"', 'f"side {box.pop()}"'),
    "which error is raised": ("raise ValueError", "raise TypeError"),
}


def _meaning(tmp_path: Path, text: str) -> str:
    path = tmp_path / "source.py"
    path.write_text(text)
    return meaning_of(path)


@pytest.mark.parametrize(("old", "new"), READ_ONLY.values(), ids=READ_ONLY)
def test_what_people_read_does_not_count(tmp_path: Path, old: str, new: str) -> None:
    assert old in SOURCE
    assert _meaning(tmp_path, SOURCE.replace(old, new)) == _meaning(tmp_path, SOURCE)


@pytest.mark.parametrize(("old", "new"), DECIDES.values(), ids=DECIDES)
def test_what_the_program_does_counts(tmp_path: Path, old: str, new: str) -> None:
    assert old in SOURCE
    assert _meaning(tmp_path, SOURCE.replace(old, new)) != _meaning(tmp_path, SOURCE)


def test_a_text_that_is_no_message_counts(tmp_path: Path) -> None:
    assert _meaning(tmp_path, "mode = 'train'") != _meaning(tmp_path, "mode = 'val'")
    assert _meaning(tmp_path, "run('train')") != _meaning(tmp_path, "run('val')")


def test_yaml_counts_by_its_values(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    codes = []
    for text in ("lr0: 0.1 # fast\nnc: 2\n", "nc: 2\n\n# slow\nlr0: 0.10\n", "nc: 3\nlr0: 0.1\n"):
        path.write_text(text)
        codes.append(meaning_of(path))
    assert codes[0] == codes[1] != codes[2]


@pytest.fixture(scope="module")
def copied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Our own sources, to be changed."""
    root = tmp_path_factory.mktemp("sources") / "tasks"
    shutil.copytree(ROOT, root, ignore=shutil.ignore_patterns("__pycache__"))
    return root


KIND = "kinds/detection"
RESTS_ON: dict[str, set[Result]] = {
    f"{KIND}/layout.py": {"layout", "training", "export"},  # it writes the labels that are trained on
    "datasets/on_disk.py": {"layout", "training", "export"},
    f"{KIND}/boxes.py": {"layout", "training", "export", "validation"},
    f"{KIND}/trainer.py": {"training", "export"},
    f"{KIND}/architectures": {"training", "export"},
    f"{KIND}/export_worker.py": {"export"},
    f"{KIND}/metrics.py": {"evaluation", "verdict"},
    f"{KIND}/drawing.py": {"evaluation", "verdict"},  # an evaluation keeps its worst frames as they are drawn
    f"{KIND}/labels.py": set(),
    f"{KIND}/formats/voc.py": set(),
    f"{KIND}/checks.py": {"validation"},  # what passed by it is judged again
    "validation/judging.py": {"validation"},
    "validation/report.py": set(),
    "training/train.py": {"training", "export"},
    "training/trial_values.py": set(),  # which values a search tries: each of its trainings is named by its own
    "metrics/matching.py": {"evaluation", "verdict", "validation"},  # also how far people agree
    "metrics/label_agreement.py": {"validation"},  # shown with the labels; no model is judged by it
    "evaluation/measure.py": {"evaluation", "verdict"},
    "gates/decide.py": {"verdict"},
    "leakage/thumbnails.py": {"signature", "audit"},
    "ingest/watching.py": {"signature", "audit"},
    "leakage/crop_matching.py": {"audit"},
    "kind/images.py": {"evaluation", "verdict"},
    "evaluation/report.py": set(),
    "leakage/report.py": set(),
    "leakage/clears.py": set(),
    "leakage/copies.py": set(),  # of labels and reports; the audit has wider bounds
    "leakage/refusal.py": set(),
    "steps/change_detection.py": set(),
}
OTHER = "other"


def _codes(root: Path, kind: str = "detection") -> dict[Result, str]:
    return {each: code_below(root, each, kind) for each in DECIDING}


@pytest.mark.parametrize("name", RESTS_ON)
def test_a_change_reaches_the_results_that_rest_on_it_and_no_others(copied: Path, name: str) -> None:
    path = copied / name
    path = next(path.glob("*.yaml")) if path.is_dir() else path
    before, text = _codes(copied), path.read_text()
    try:
        path.write_text(f"# only a comment\n{text}")
        assert _codes(copied) == before
        path.write_text(f"{text}\nADDED = 1\n" if path.suffix == ".py" else f"{text}\nadded: 1\n")
        after = _codes(copied)
    finally:
        path.write_text(text)
    assert {each for each in DECIDING if after[each] != before[each]} == RESTS_ON[name]


@pytest.fixture
def other(copied: Path) -> Iterator[Path]:
    """The room of another kind among our sources, with metrics of its own."""
    room, metric = copied / "kinds" / OTHER, copied / "metrics" / "other.py"
    room.mkdir()
    (room / "__init__.py").write_text('LIBRARIES = {"training": ("numpy",)}\n')
    (room / "train.py").write_text("STEPS = 1\n")
    (room / "layout.py").write_text("FOLDERS = 1\n")
    (room / "metrics.py").write_text("from tasks.metrics.other import judge\nfrom tasks.kinds.other import scores\n")
    (room / "scores.py").write_text("BEST = 1\n")
    metric.write_text("def judge():\n    return 1\n")
    yield room
    shutil.rmtree(room)
    metric.unlink()


@pytest.mark.parametrize(
    ("name", "rests"),
    [
        ("train.py", {"training", "export"}),
        ("layout.py", {"layout", "training", "export"}),
        ("metrics.py", {"evaluation", "verdict"}),
        ("scores.py", {"evaluation", "verdict"}),
        ("../../metrics/other.py", {"evaluation", "verdict"}),
        ("__init__.py", {"training", "export"}),
    ],
)
def test_a_change_in_one_kinds_room_leaves_the_lines_of_other_kinds_alone(
    copied: Path, other: Path, name: str, rests: set[Result]
) -> None:
    ours, theirs, path = _codes(copied), _codes(copied, OTHER), other / name
    path.write_text(f"{path.read_text()}ADDED = 1\n")
    assert _codes(copied) == ours
    after = _codes(copied, OTHER)
    assert {each for each in DECIDING if after[each] != theirs[each]} == rests


def test_a_change_in_our_room_leaves_the_other_kind_alone(copied: Path, other: Path) -> None:
    ours, theirs, path = _codes(copied), _codes(copied, OTHER), copied / KIND / "trainer.py"
    text = path.read_text()
    try:
        path.write_text(f"{text}\nADDED = 1\n")
        assert _codes(copied, OTHER) == theirs
        assert _codes(copied)["training"] != ours["training"]
    finally:
        path.write_text(text)


def test_what_a_classifier_rests_on(copied: Path) -> None:
    room = copied / "kinds" / "classification"
    rests_on = {
        "duplicates.py": {"validation"},  # which labels contradict each other
        "answers.py": set(),
        "predictor.py": {"training", "export"},  # although saliency, which decides nothing, imports it
        "scores.py": {"training", "export"},  # of the trainer's own
        "objects.py": {"layout", "training", "export", "evaluation", "verdict", "validation"},
        "../../metrics/temperature.py": {"training", "export"},  # fitted at a training's end, and kept with the weights
    }
    for name, rests in rests_on.items():
        before, text = _codes(copied, "classification"), (room / name).read_text()
        try:
            (room / name).write_text(f"{text}\nADDED = 1\n")
            after = _codes(copied, "classification")
        finally:
            (room / name).write_text(text)
        assert {each for each in DECIDING if after[each] != before[each]} == rests, name


def test_every_result_has_sources_and_every_exception_is_a_file() -> None:
    for result, deciding in DECIDING.items():
        assert files_of(result, "detection"), result
        for name in deciding.without:
            assert [*ROOT.glob(name), *ROOT.glob(f"kinds/*/{name}")], (result, name)
        assert len(code_of(result, "detection")) == 16


def test_a_library_of_another_version_is_other_code(monkeypatch: pytest.MonkeyPatch) -> None:
    before = code_below(ROOT, "export", "detection")
    real = provenance.library_versions
    monkeypatch.setattr(
        provenance, "library_versions", lambda names: {**real(names), **({"onnx": "0"} if "onnx" in names else {})}
    )
    assert code_below(ROOT, "export", "detection") != before
