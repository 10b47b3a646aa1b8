"""What a recipe says of classes of different frequency, and of pictures under a microscope, arrives in its training."""

from __future__ import annotations

import random
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tasks.config import RecipeChoice
from tasks.errors import ConfigError
from tasks.kinds.detection.copy_paste import CopyPaste
from tasks.kinds.detection.recipe import load_recipe
from tasks.training.determinism import epoch_seed
from tasks.training.microscope import MICROSCOPE
from tests.kinds.detection.small_trainings import during_training, make_job, run, set_up
from tests.kinds.detection.test_copy_paste import Frames, frame
from tests.kinds.detection.test_effects import faults
from tests.training.test_stages import every_epoch  # noqa: F401  # a fixture

STILL = {"hsv_h": 0, "hsv_s": 0, "hsv_v": 0, "scale": 0, "translate": 0, "fliplr": 0, "flipud": 0}
RARE_IN = (2, 5)
"""Of the eight training pictures."""


@pytest.fixture
def uneven(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only two of the eight training pictures hold an impurity."""
    from tests.kinds.detection import small_trainings

    real = small_trainings.write_dataset

    def write(folder: Path, *, val: bool) -> Path:
        data = real(folder, val=val)
        for place, label in enumerate(sorted((folder / "labels/train").glob("*.txt"))):
            if place not in RARE_IN:
                label.write_text(label.read_text().splitlines()[0])
        return data

    monkeypatch.setattr(small_trainings, "write_dataset", write)


def orders(trainer: Any, epochs: int) -> list[list[int]]:
    sampler = trainer.train_loader.batch_sampler.sampler.sampler
    return [list(sampler) for _ in range(epochs)]


@pytest.mark.usefixtures("uneven")
def test_rare_pictures_come_oftener_by_index_and_no_file_is_copied(tmp_path: Path) -> None:
    trainer = set_up(tmp_path, repeat_threshold=1.0)
    assert len(trainer.train_loader.dataset) == 8 and len(trainer.train_loader) == 2
    seen = Counter(picture for order in orders(trainer, 200) for picture in order)
    assert seen.total() == 1600
    rare, common = (np.mean([seen[each] for each in range(8) if (each in RARE_IN) == is_rare]) for is_rare in (1, 0))
    assert rare / common == pytest.approx(2, rel=0.1), "sqrt(1 / (2 / 8))"


@pytest.mark.usefixtures("uneven")
def test_each_batch_shows_the_rare_class(tmp_path: Path) -> None:
    plain = set_up(tmp_path / "plain", batch=2, nbs=2)
    balanced = set_up(tmp_path / "balanced", batch=2, nbs=2, balanced_batches=True)

    def with_it(trainer: Any) -> list[bool]:
        seen = during_training(trainer, "on_train_batch_start", lambda _: None)
        assert len(seen) == 8, "two epochs of four batches"
        return [bool((batch["cls"] == 1).any()) for batch in trainer.train_loader]

    assert all(with_it(balanced)) and not all(with_it(plain))


def test_without_either_each_picture_comes_once_in_the_order_that_it_always_had(tmp_path: Path) -> None:
    trainer = set_up(tmp_path)
    for epoch, order in enumerate(orders(trainer, 2)):
        generator = torch.Generator().manual_seed(epoch_seed(trainer.args.seed, epoch))
        assert order == torch.randperm(8, generator=generator).tolist()


@pytest.mark.usefixtures("uneven")
@pytest.mark.parametrize(
    ("changes", "weights"),
    [
        ({"class_weights": {"impurity": 5}}, [1, 5]),
        ({"class_weights": "balanced"}, [0.4, 1.6]),
        ({"cls_pw": 1.0}, [0.4, 1.6]),
        ({"class_weights": "effective", "class_beta": 0.5}, [255 / 256 / (255 / 256 + 3 / 4), 0]),
    ],
)
def test_classes_weigh_in_the_loss_what_the_recipe_says(
    tmp_path: Path, changes: dict[str, Any], weights: list[float]
) -> None:
    trainer, plain = set_up(tmp_path / "weighed", **STILL, **changes), set_up(tmp_path / "plain", **STILL)
    found = trainer.model.class_weights
    if "class_beta" in changes:
        assert found.mean() == 1 and float(found[1] / found[0]) == pytest.approx((1 - 0.5**8) / (1 - 0.5**2))
    else:
        assert found.tolist() == pytest.approx(weights)
    assert getattr(plain.model, "class_weights", None) is None

    def by_class(each: Any) -> torch.Tensor:
        """The classes' loss of one batch, class by class: as the criterion weighs it."""
        items, seen = each.train_loader.dataset, []
        random.seed(0)
        torch.manual_seed(0)
        batch = each.preprocess_batch(items.collate_fn([items[index] for index in range(4)]))
        each.model.train()
        each.model.criterion = each.model.init_criterion()
        criterion = each.model.criterion
        bce, kept = criterion.bce, criterion.class_weights
        criterion.bce = lambda scores, targets: seen.append(bce(scores, targets)) or seen[-1].clone()
        _, parts = each.model(batch)
        weighed = seen[0] if kept is None else seen[0] * kept
        assert float(parts["cls_loss"]) / float(weighed.sum()) > 0
        return torch.stack([weighed.sum((0, 1)), torch.full((2,), float(parts["cls_loss"]))])

    ours, theirs = by_class(trainer), by_class(plain)
    assert (ours[0] / theirs[0]).tolist() == pytest.approx(found.tolist(), rel=1e-4)
    assert float(ours[1, 0] / theirs[1, 0]) == pytest.approx(float(ours[0].sum() / theirs[0].sum()), rel=1e-4)


def test_copy_paste_of_some_classes_takes_frames_that_have_them() -> None:
    class Labelled(Frames):
        """Four frames, of which one has an object of class 2."""

        def __init__(self) -> None:
            super().__init__([(20.0, 20.0, 10.0, 10.0), (50.0, 50.0, 16.0, 8.0), (80.0, 80.0, 12.0, 12.0)])
            self.labels = [{"cls": np.array([[0.0], [1.0]])}] * 3 + [{"cls": np.array([[0.0], [1.0], [2.0]])}]
            self.asked: list[int] = []

        def __len__(self) -> int:
            return 4

        def get_image_and_label(self, index: int) -> dict[str, Any]:
            self.asked.append(index)
            return super().get_image_and_label(index)

    random.seed(0)
    frames = Labelled()
    paste = CopyPaste(frames, 0.25, {2})
    pasted = [paste(frame([], 90, 0))["cls"].ravel().tolist() for _ in range(200)]
    assert set(frames.asked) == {3}
    assert {name for names in pasted for name in names} == {2.0}
    assert sum(map(len, pasted)) / 200 == pytest.approx(0.25, abs=0.08), "a quarter of one object is one in four"
    assert len(CopyPaste(frames, 1.0, {7})(frame([], 90, 0))["cls"]) == 0, "nobody has one"


@pytest.mark.usefixtures("uneven")
@pytest.mark.parametrize(("said", "only"), [("all", None), ("rare", {1}), (["sperm"], {0})])
def test_whose_objects_are_pasted_arrives(tmp_path: Path, said: Any, only: Any) -> None:
    trainer = set_up(tmp_path, copy_paste=0.5, copy_paste_classes=said)
    (paste,) = (each for each in trainer.train_loader.dataset.transforms.transforms if isinstance(each, CopyPaste))
    assert paste.only == only


def test_the_microscope_stands_in_the_pipeline_to_the_end(tmp_path: Path) -> None:
    trainer = set_up(tmp_path, microscope="light", copy_paste=0.5, close_mosaic=1, epochs=2)
    seen = during_training(
        trainer, "on_train_epoch_end",
        lambda t: [type(each).__name__ for each in t.train_loader.dataset.transforms.transforms],
    )  # fmt: skip
    assert [names.count("MicroscopeOfLabels") for names in seen] == [1, 1]
    assert [names.count("CopyPaste") for names in seen] == [1, 0]
    transforms = trainer.train_loader.dataset.transforms.transforms
    (ours,) = (each for each in transforms if type(each).__name__ == "MicroscopeOfLabels")
    assert ours.plan == MICROSCOPE["light"]


def test_the_microscope_changes_what_is_learned_from(tmp_path: Path) -> None:
    def batch(folder: Path, **changes: Any) -> dict[str, Any]:
        trainer = set_up(folder, **STILL, **changes)
        random.seed(1)
        items = trainer.train_loader.dataset
        found: dict[str, Any] = items.collate_fn([items[index] for index in range(4)])
        return found

    plain, turned = batch(tmp_path / "plain"), batch(tmp_path / "turned", microscope={"rotate": 1})
    again = batch(tmp_path / "again", microscope={"rotate": 1})
    assert plain["img"].shape == turned["img"].shape and not torch.equal(plain["img"], turned["img"])
    assert torch.equal(turned["img"], again["img"]) and torch.equal(turned["bboxes"], again["bboxes"])
    assert (turned["bboxes"] >= 0).all() and (turned["bboxes"] <= 1).all() and len(turned["bboxes"]) > 4
    for number, (x, y, _, _) in zip(turned["batch_idx"].long(), turned["bboxes"], strict=True):
        at = turned["img"][number, :, int(y * 64), int(x * 64)].float().mean()
        assert at > 90, "a square or a bar is where its box is"


@pytest.mark.parametrize("recipe", ["detection-from-scratch", "detection-basic"])
def test_albumentations_being_installed_changes_no_recipe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recipe: str
) -> None:
    """Ultralytics would blur, grey and equalise one frame in a hundred, and draw its random numbers for it."""
    from ultralytics.data import augment

    def pixels(folder: Path) -> torch.Tensor:
        trainer = set_up(folder, recipe, augmentation="heavy")
        trainer.epoch = 0
        trainer._seed_epoch()
        items = trainer.train_loader.dataset
        return torch.stack([items[index % 8]["img"] for index in range(64)])

    with monkeypatch.context() as absent:
        absent.setitem(sys.modules, "albumentations", None)
        without = pixels(tmp_path / "without")
    here = pixels(tmp_path / "with")
    assert torch.equal(without, here)
    assert augment.Albumentations.__name__ == "NoAlbumentations"


ALL_OF_IT: dict[str, Any] = {
    "repeat_threshold": 1.0, "balanced_batches": True, "class_weights": "effective", "copy_paste": 0.5,
    "copy_paste_classes": "rare",
    "stages": [
        {"epochs": 1, "batch": 2, "microscope": "heavy"},
        {"epochs": 2, "microscope": {"elastic": 0.5, "iso_noise": 0.5}, "class_weights": {"impurity": 4}},
    ],
}  # fmt: skip


@pytest.mark.usefixtures("uneven", "every_epoch")
def test_gone_on_with_after_any_epoch_it_ends_with_the_same_bytes(tmp_path: Path) -> None:
    whole, kept = make_job(tmp_path, **ALL_OF_IT), tmp_path / "kept"
    events = run(whole, kept)
    weights = (whole.folder / "weights.pt").read_bytes()
    shown = [event["name"] for event in events if event["event"] == "picture"]
    assert shown == ["training/contact_sheet_stage_01.jpg", "training/contact_sheet_stage_02.jpg"]
    sheet = (whole.folder / "run/contact_sheet_stage_02.jpg").read_bytes()
    for epoch in (1, 2):
        folder = tmp_path / f"from {epoch}"
        folder.mkdir()
        rest = run(whole.model_copy(update={"folder": folder, "resume_from": kept / f"{epoch}.ckpt"}))
        assert (folder / "weights.pt").read_bytes() == weights
        pictures = [event for event in rest if event["event"] == "picture"]
        assert [event["name"] for event in pictures] == (shown[1:] if epoch == 1 else [])
        assert all(Path(event["path"]).read_bytes() == sheet for event in pictures)


def test_all_faults_at_once() -> None:
    said = faults(
        repeat_threshold=2, balanced_batches="yes", class_weights={"a": 0, "": 1, "b": "x"}, class_beta=1,
        copy_paste_classes=[], microscope={"turn": 1}, stages=[{"class_weights": "some", "copy_paste_classes": "few"}],
    )  # fmt: skip
    for part in (
        "repeat_threshold: expected a number from 0 to 1, found 2",
        "balanced_batches: expected true or false, found 'yes'",
        "class_weights: 'a': expected a number from 0.001 to 1000, found 0; '': expected the name of a class, found ''",
        "'b': expected a number",
        "class_beta: expected a number from 0 to 0.999999, found 1",
        "copy_paste_classes: expected 1 to 1000 names of classes, found 0",
        "microscope: 'turn': expected one of rotate, optics",
        "stage 1: class_weights: expected one of none, balanced, effective, found 'some'; or weights by name",
        "stage 1: copy_paste_classes: expected one of all, rare, found 'few'; or names of classes",
    ):
        assert part in said, said


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"class_beta": 0.9}, "class_beta: 0.9 has no effect: class_weights is not effective"),
        ({"class_weights": "balanced", "cls_pw": 0.5}, "cls_pw: 0.5 has no effect: class_weights weighs classes"),
        ({"copy_paste_classes": "rare"}, "copy_paste_classes: rare has no effect: copy_paste is 0"),
        ({"balanced_batches": True, "device": "0,1"}, "balanced_batches: pictures are chosen on one device, found 0,1"),
    ],
)
def test_what_comes_to_nothing_is_refused(changes: dict[str, Any], fault: str) -> None:
    assert fault in faults(**changes)


def test_classes_that_the_dataset_has_not_are_refused_before_a_step_is_taken(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        make_job(tmp_path, class_weights={"impurty": 3}, copy_paste=0.5,
                 stages=[{"epochs": 1, "copy_paste_classes": ["dirt", "sperm"]}])  # fmt: skip
    said = str(caught.value)
    assert "class_weights: 'impurty' is no class; copy_paste_classes: 'dirt' is no class" in said
    assert "sperm, impurity" in said


def test_values_of_a_detector_with_anchors() -> None:
    choice = RecipeChoice(name="ultrasound-anchors", repeat_threshold=0.5, balanced_batches=True, microscope="light")
    arguments = load_recipe(choice).arguments
    assert (arguments["repeat_threshold"], arguments["balanced_batches"]) == (0.5, True)
    assert arguments["microscope"] == MICROSCOPE["light"]
    with pytest.raises(ConfigError, match="class_weights: no such argument"):
        load_recipe(RecipeChoice(name="ultrasound-anchors", class_weights="balanced"))
