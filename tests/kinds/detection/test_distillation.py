"""Learning from a teacher: what is learned, by whom, from whom it is not, and the same bytes whenever it was killed."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest
import torch

from tasks.config import Line, RecipeChoice, Settings
from tasks.errors import ConfigError, DataError
from tasks.kinds import kind_of
from tasks.kinds.detection.distillation import LOSSES, Distilled, box_loss, class_loss, feature_loss, sureness
from tasks.kinds.detection.recipe import load_recipe
from tasks.lake import Lake, open_lake
from tasks.lake.blobs import hash_file
from tasks.training.identity import run_key
from tasks.training.train import train_unregistered
from tasks.training.ultralytics_knobs import Knobs
from tasks.training.ultralytics_loading import load_checkpoint
from tasks.training.worker_reports import Checkpoints
from tests.kinds.detection.small_trainings import make_job, run, set_up, teacher_file
from tests.training.conftest import write_dataset
from tests.training.killing import killing

DETECTION = kind_of("detection")
STAGES: list[dict[str, Any]] = [{"epochs": 2}, {"epochs": 1, "distill_classes": 0, "distill_boxes": 0}]
ALL = {"distill_features": 2.0, "distill_temperature": 2.0}


def answers(seed: int, bins: int = 16, widths: tuple[int, ...] = (8, 16)) -> dict[str, Any]:
    random = torch.Generator().manual_seed(seed)
    places = 64 + 16
    return {
        "boxes": torch.rand(2, 4 * bins, places, generator=random) * 4,
        "scores": torch.randn(2, 3, places, generator=random),
        "feats": [
            torch.randn(2, width, side, side, generator=random) for width, side in zip(widths, (8, 4), strict=True)
        ],
    }


def test_who_answers_as_the_teacher_does_has_no_loss() -> None:
    same = answers(1)
    weight = sureness(same["scores"])
    assert float(class_loss(same["scores"], same["scores"], weight, 2.0)) == 0
    assert float(box_loss(same["boxes"], same["boxes"], weight, 2.0)) == 0
    assert float(feature_loss(same["feats"], same["feats"])) == 0
    bare = answers(1, bins=1)["boxes"] + 1
    assert float(box_loss(bare, bare, weight, 1.0)) == pytest.approx(0, abs=1e-5), "1 - GIoU, of a head without bins"


def test_losses_are_the_papers_formulas() -> None:
    student = torch.tensor([[[0.3, 5.0], [-1.0, 5.0]]])  # two classes at two places
    teacher = torch.tensor([[[1.2, -9.0], [0.4, -9.0]]])
    weight = sureness(teacher)
    assert weight.tolist() == [[pytest.approx(1 / (1 + 2.718281828**-1.2)), 0]], "the second is sure of nothing"
    q, p = (torch.sigmoid(each[0, :, 0] / 2) for each in (teacher, student))
    kl = (q * (q / p).log() + (1 - q) * ((1 - q) / (1 - p)).log()).sum()
    found = class_loss(student, teacher, weight, 2.0)
    assert float(found) == pytest.approx(float(kl * 4 * weight[0, 0]), rel=1e-5), "over a weight of 1 at least"

    mine, theirs = (torch.randn(1, 8, 1, generator=torch.Generator().manual_seed(seed)) for seed in (1, 2))
    log_p, log_q = ((each.view(4, 2) / 3).log_softmax(-1) for each in (mine, theirs))
    wanted = torch.nn.functional.kl_div(log_p, log_q, log_target=True, reduction="sum") / 4 * 9
    assert float(box_loss(mine, theirs, torch.full((1, 1), 2.0), 3.0)) == pytest.approx(float(wanted), rel=1e-5)

    one, other = torch.zeros(1, 2, 1, 2), torch.zeros(1, 5, 1, 2)
    one[..., 0], other[..., 1] = 3, 7
    assert float(feature_loss([one], [other])) == pytest.approx(2), "at quite another place, whatever the widths"
    assert float(feature_loss([one], [one * 5])) == pytest.approx(0, abs=1e-6), "however large the activations are"


def test_heads_of_unlike_bins_are_compared_by_their_boxes() -> None:
    bins = torch.full((1, 4, 16, 1), -50.0)
    bins[:, :, 3] = 50.0  # three cells to each side
    sure = torch.ones(1, 1)
    plain = torch.full((1, 4, 1), 3.0)
    assert float(box_loss(plain, bins.flatten(1, 2), sure, 1.0)) == pytest.approx(0, abs=1e-5)
    half = plain.clone()
    half[:, 2] = 0.0  # the right half is gone: IoU 1/2, and the hull is the whole
    assert float(box_loss(half, bins.flatten(1, 2), sure, 1.0)) == pytest.approx(0.5, abs=1e-4)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = box_loss(plain, answers(1)["boxes"][:1, :, :1], sure, 1.0)
    exact = box_loss(plain, answers(1)["boxes"][:1, :, :1], sure, 1.0)
    assert float(mixed) == float(exact) > 0, "boxes are not rounded where networks compute in half precision"


def test_where_the_teacher_is_sure_of_nothing_there_is_nothing_to_learn() -> None:
    student = answers(2)
    for name in ("boxes", "scores"):
        student[name].requires_grad_()
    weight = sureness(torch.full((2, 3, 80), -9.0))
    loss = class_loss(student["scores"], answers(3)["scores"], weight, 1.0)
    loss = loss + box_loss(student["boxes"], answers(3)["boxes"], weight, 1.0)
    loss.backward()
    assert loss.item() == 0 and not student["scores"].grad.any() and not student["boxes"].grad.any()


def test_a_head_that_answers_once_learns_from_its_namesake_alone() -> None:
    class Two:
        o2m, o2o = 0.8, 0.2

        def __call__(self, *_: Any) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
            return torch.ones(3), {"box_loss": torch.ones(())}

    student = {"one2many": answers(1), "one2one": answers(2)}
    batch, knobs = {"img": torch.zeros(2, 3, 64, 64)}, Knobs(teacher="t.pt")

    def part(theirs: Any) -> float:
        loss, items = Distilled(Two(), lambda _: theirs, knobs)((None, student), batch)
        assert loss.shape == (6,) and float(loss[3]) == pytest.approx(2 * float(items["distill_cls_loss"]))
        return float(items["distill_cls_loss"])

    one, both = part(answers(3)), part({"one2many": answers(3), "one2one": answers(4)})
    scores = [class_loss(student[head]["scores"], t["scores"], sureness(t["scores"]), 1.0)
              for head, t in (("one2many", answers(3)), ("one2one", answers(4)))]  # fmt: skip
    assert one == pytest.approx(0.8 * float(scores[0]))
    assert both == pytest.approx(0.8 * float(scores[0]) + 0.2 * float(scores[1]))


def one_batch(trainer: Any) -> Any:
    images = trainer.train_loader.dataset
    trainer._model_train()
    return trainer.preprocess_batch(images.collate_fn([images[index] for index in range(4)]))


def test_the_student_learns_and_the_teacher_does_not(tmp_path: Path) -> None:
    trainer = set_up(tmp_path / "run", teacher=teacher_file(tmp_path), box=0, cls=0, dfl=0, **ALL)
    teacher = trainer.model.criterion.teacher
    before = {name: value.clone() for name, value in teacher.network.state_dict().items()}
    loss, items = trainer.model(one_batch(trainer))
    loss.sum().backward()
    assert all(float(items[name]) > 0 for name in LOSSES)
    assert float(sum(items.values())) == pytest.approx(float(sum(items[name] for name in LOSSES)))
    learning = [each for each in trainer.model.parameters() if each.requires_grad]
    assert all(each.grad is not None and torch.isfinite(each.grad).all() for each in learning)
    assert sum(bool(each.grad.any()) for each in learning) > len(learning) // 2
    assert not any(each.requires_grad or each.grad is not None for each in teacher.network.parameters())
    assert all(torch.equal(value, before[name]) for name, value in teacher.network.state_dict().items()), (
        "its norms too"
    )
    assert not teacher.network.training
    assert not [name for name in trainer.model.state_dict() if "teacher" in name], "it is no part of the model"
    in_optimizer = {id(each) for group in trainer.optimizer.param_groups for each in group["params"]}
    assert not in_optimizer & {id(each) for each in teacher.network.parameters()}


@pytest.mark.parametrize(
    ("key", "part"),
    [("distill_classes", "distill_cls_loss"), ("distill_boxes", "distill_box_loss"),
     ("distill_features", "distill_feature_loss")],
)  # fmt: skip
def test_each_weight_weighs_its_part(tmp_path: Path, key: str, part: str) -> None:
    trainer = set_up(tmp_path / "run", teacher=teacher_file(tmp_path), **ALL)
    criterion, batch = trainer.model.criterion, one_batch(trainer)
    preds = trainer.model(batch["img"])

    def parts(**changes: Any) -> dict[str, float]:
        criterion.knobs = trainer.knobs.model_copy(update=changes)
        return {name: float(value) for name, value in criterion(preds, batch)[1].items()}

    plain, twice, none = parts(), parts(**{key: 2 * getattr(trainer.knobs, key)}), parts(**{key: 0.0})
    assert twice[part] == pytest.approx(2 * plain[part]) and none[part] == 0 < plain[part]
    for other in plain.keys() - {part}:
        assert plain[other] == twice[other] == none[other]
    if key != "distill_features":
        assert parts(distill_temperature=5.0)[part] != plain[part]


def test_without_a_teacher_nothing_is_put_in(tmp_path: Path) -> None:
    trainer = set_up(tmp_path)
    assert getattr(trainer.model, "criterion", None) is None
    assert trainer.label_loss_items({"box_loss": 1.0}, "val") == {"val/box_loss": 1.0}


@pytest.mark.parametrize(
    ("model", "names", "said"),
    [
        ("p3-tiny.yaml", ("impurity", "sperm"), ["the classes sperm, impurity, in this order", "impurity, sperm"]),
        ("p3-p5-small.yaml", ("sperm",),
         ["the classes sperm, impurity", "the classes sperm;", "heads at strides 8, as", "heads at strides 8, 16, 32"]),
    ],
)  # fmt: skip
def test_a_teacher_of_other_classes_or_grids_is_refused(
    tmp_path: Path, model: str, names: tuple[str, ...], said: list[str]
) -> None:
    with pytest.raises(ConfigError, match="teacher: cannot teach this student") as caught:
        set_up(tmp_path / "run", teacher=teacher_file(tmp_path, model, names))
    assert all(part in str(caught.value) for part in said), str(caught.value)
    assert "choose the student's `model` by it" in str(caught.value)


def test_a_file_that_is_no_model_is_refused_and_runs_nothing(tmp_path: Path) -> None:
    class Runs:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (tmp_path / "it ran",))

    torch.save({"model": Runs()}, tmp_path / "teacher.pt")
    with pytest.raises(DataError, match=r"weights teacher\.pt cannot be loaded"):
        set_up(tmp_path / "run", teacher=tmp_path / "teacher.pt")
    assert not (tmp_path / "it ran").exists()


def test_a_wider_teacher_teaches_and_is_not_in_the_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stages, of which the last asks nothing; from each epoch's checkpoint on the same bytes."""
    real = Checkpoints.write

    def write(self: Checkpoints, epoch: int, content: Any, *, last: bool, stage_over: bool = False) -> None:
        self._cost_s = 0.0
        real(self, epoch, content, last=last, stage_over=stage_over)

    monkeypatch.setattr(Checkpoints, "write", write)
    job = make_job(tmp_path, teacher=teacher_file(tmp_path, "p3-small.yaml"), stages=STAGES, distill_temperature=2)
    events = run(job, tmp_path / "kept")
    weights = (job.folder / "weights.pt").read_bytes()
    epochs = [event["metrics"] for event in events if event["event"] == "epoch"]
    assert [each["train/distill_cls_loss"] > 0 for each in epochs] == [True, True, False]
    assert [each["train/distill_box_loss"] > 0 for each in epochs] == [True, True, False]
    assert not [name for each in epochs for name in each if name.startswith("val/distill")]
    started = [event for event in events if event["event"] == "started"]
    assert [each["teacher_oid"] for each in started] == [hash_file(tmp_path / "teacher.pt")] * 2
    rows = list(csv.DictReader((job.folder / "run" / "results.csv").open()))
    assert [float(row["train/distill_cls_loss"]) > 0 for row in rows] == [True, True, False]
    assert all(None not in row and None not in row.values() for row in rows), "a column too many, or too few"

    assert not [name for name in load_checkpoint(job.folder / "weights.pt")["model"].state_dict() if "teach" in name]
    alone = make_job(tmp_path / "alone", stages=[{"epochs": 2}, {"epochs": 1}])
    run(alone)
    assert (alone.folder / "weights.pt").read_bytes() != weights
    assert abs((alone.folder / "weights.pt").stat().st_size - len(weights)) < 2000, "the student's size, as without one"

    for epoch in (1, 2, 3):
        folder = tmp_path / f"from {epoch}"
        folder.mkdir()
        run(job.model_copy(update={"folder": folder, "resume_from": tmp_path / "kept" / f"{epoch}.ckpt"}))
        assert (folder / "weights.pt").read_bytes() == weights, f"another model, gone on with after epoch {epoch}"


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"teacher": "../t.pt"}, "teacher: expected the oid of a blob, or the bare name of a .pt"),
        ({"teacher": 3}, "teacher: expected the oid of a blob"),
        ({"teacher": "t.pt", "distill_boxes": -1, "distill_temperature": 0}, "temperature: expected a number from 0.1"),
        ({"distill_features": 1}, "distill_features: 1 has no effect: there is no teacher to learn from"),
        ({"teacher": "t.pt", "distill_classes": 0, "distill_boxes": 0}, "teacher: is asked nothing"),
        ({"teacher": "t.pt", "distill_classes": 0, "distill_boxes": 0, "distill_features": 1, "distill_temperature": 2},
         "distill_temperature: softens scores and edges"),
        ({"teacher": "t.pt", "compile": True}, "compile: is not to be had with a teacher"),
        ({"stages": [{"teacher": "t.pt"}]}, "stage 1: teacher: cannot be set, it holds for the whole training"),
        ({"distill_model": "t.pt"}, "distill_model: cannot be set, say `teacher`"),
        ({"dis": 3}, "dis: cannot be set, say `distill_classes`"),
        ({"model": "retinanet", "teacher": "t.pt"}, "teacher: no such argument"),
    ],
)  # fmt: skip
def test_what_a_recipe_cannot_say_of_a_teacher(changes: dict[str, Any], fault: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_recipe(RecipeChoice(name="detection-from-scratch", **changes))
    assert fault in str(caught.value)


def test_a_teacher_counts_by_its_bytes_and_must_be_there(tmp_path: Path, line: Line) -> None:
    lake = open_lake(Settings(state_dir=tmp_path))

    def key(**changes: Any) -> str:
        own = line.model_copy(update={"recipe": line.recipe.model_copy(update=changes)})
        return run_key(lake, own, "d" * 64, DETECTION)

    with pytest.raises(ConfigError, match=r"learns from the teacher 't\.pt'.*weights_oid") as caught:
        key(teacher="t.pt")
    assert str(tmp_path / "weights" / "t.pt") in str(caught.value)
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "t.pt").write_bytes(b"one")
    one, start = key(teacher="t.pt"), key(weights="t.pt")
    (tmp_path / "weights" / "t.pt").write_bytes(b"two")
    assert len({one, start, key(teacher="t.pt"), key(weights="t.pt"), key()}) == 5


def test_killed_and_gone_on_with_it_learns_the_same_from_a_blob(
    lake: Lake, line: Line, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Weights by their oid in the lake, as `nightscope champion` has it of the model in charge."""
    data, oid = write_dataset(tmp_path / "data", val=True), lake.blobs.put_file(teacher_file(tmp_path))
    recipe = line.recipe.model_copy(
        update={"plots": False, "epochs": 2, "min_steps": 0, "teacher": oid, "distill_features": 1.0}
    )
    whole, cut = (line.model_copy(update={"line": name, "recipe": recipe}) for name in ("whole", "cut"))
    before = train_unregistered(lake, whole, DETECTION, "e" * 64, data, True, progress=lambda _: None)
    killed = killing(monkeypatch, lambda event: event["event"] == "checkpoint" and event["epoch"] == 1)
    after = train_unregistered(lake, cut, DETECTION, "e" * 64, data, True, progress=lambda _: None)
    assert (len(killed), after.resumed_from_epoch, after.epochs) == (1, 1, 2)
    assert after.weights_oid == before.weights_oid, "not the model it would have become"
    assert after.setup["teacher_oid"] == oid == after.recipe["arguments"]["teacher"]
    assert all(after.history[-1].metrics[f"train/{name}"] > 0 for name in LOSSES)
