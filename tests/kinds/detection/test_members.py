"""Several detectors as one model: trained, killed, evaluated, served; and what is refused of it."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

from tasks.config import Line, RecipeChoice
from tasks.errors import ConfigError, DataError, IntegrityError
from tasks.kind import ModelRef
from tasks.kinds import kind_of
from tasks.kinds.detection.comparison import compare_weights
from tasks.kinds.detection.detector import Detector
from tasks.kinds.detection.ensemble_detector import EnsembleDetector
from tasks.kinds.detection.ensembles import fuse, is_ensemble, unpack, write
from tasks.kinds.detection.exports import make
from tasks.kinds.detection.pyfunc_model import BoxDetector
from tasks.kinds.detection.recipe import PredictOptions, load_recipe
from tasks.kinds.detection.served import SERVED
from tasks.lake import Lake
from tasks.lake.blobs import hash_file
from tasks.registry.models import ModelAbout
from tasks.training.train import train_unregistered
from tests.kinds.detection.small_trainings import make_job, run, teacher_file
from tests.training.conftest import write_dataset
from tests.training.killing import killing

DETECTION = kind_of("detection")
CLASSES = ("sperm", "impurity")
EVERYTHING = PredictOptions(conf=0.0, iou=0.6, max_det=30)


@pytest.mark.usefixtures("every_checkpoint")
def test_each_member_is_the_training_of_its_seed_whenever_it_was_killed(tmp_path: Path) -> None:
    job = make_job(tmp_path, seed=3, members=2, epochs=2)
    events = run(job, tmp_path / "kept")
    finished = events[-1]
    epochs = [event for event in events if event["event"] == "epoch"]
    assert [(e["epoch"], e["epochs"], e["step"], e["metrics"]["member"]) for e in epochs] == [
        (1, 4, 2, 1), (2, 4, 4, 1), (3, 4, 6, 2), (4, 4, 8, 2)
    ]  # fmt: skip
    assert [(e["first_epoch"], e["epochs"], e["member"], e["members"]) for e in events if e["event"] == "started"] == [
        (0, 4, 1, 2), (2, 4, 2, 2)
    ]  # fmt: skip
    progress = [event for event in events if event["event"] == "progress"]
    assert [event["step"] for event in progress] == list(range(1, 9)) and {event["steps"] for event in progress} == {8}
    assert is_ensemble(finished["weights"])
    members = unpack(finished["weights"], tmp_path)
    alone = make_job(tmp_path / "alone", seed=4, epochs=2)
    run(alone)
    assert members[1].read_bytes() == (alone.folder / "weights.pt").read_bytes()
    assert members[0].read_bytes() != members[1].read_bytes()
    assert {"val/AP50", "val/AP50/sperm", "member_1/val/AP50", "member_2/val/AP50"} <= finished["review"].keys()
    assert {"member_1/training/results.csv", "member_2/training/results.csv"} <= finished["files"].keys()

    for epoch in (1, 2, 3):
        folder = tmp_path / f"from {epoch}"
        folder.mkdir()
        again = run(job.model_copy(update={"folder": folder, "resume_from": tmp_path / "kept" / f"{epoch}.ckpt"}))
        assert again[-1]["weights"].read_bytes() == finished["weights"].read_bytes(), f"gone on with after {epoch}"
        assert again[-1]["review"] == finished["review"]
        done = [(event["epoch"], event["step"]) for event in again if event["event"] == "epoch"]
        assert done == [(e["epoch"], e["step"]) for e in epochs[epoch:]], "the count goes on"


@pytest.mark.usefixtures("every_checkpoint")
def test_members_that_began_with_the_same_become_one_by_the_mean_of_their_weights(tmp_path: Path) -> None:
    start = teacher_file(tmp_path)
    job = make_job(tmp_path, members=2, epochs=1, fusion="weights", weights="start.pt", model="p3-small.yaml")
    job = job.model_copy(update={"weights": start})  # of another architecture: what does not fit begins at random
    finished = run(job, tmp_path / "kept")[-1]
    assert finished["weights"].suffix == ".pt" and not is_ensemble(finished["weights"])
    found = Detector(finished["weights"], oid=hash_file(finished["weights"]), classes=CLASSES, imgsz=64)
    assert found.classes == CLASSES
    one, other = (job.folder / f"member_{number}" / "weights.pt" for number in (1, 2))
    apart = compare_weights(one, other, (hash_file(one), hash_file(other)))
    assert apart.differing_tensors and apart.largest and (apart.largest.largest_difference or 1) < 0.1, "one start"
    folder = tmp_path / "again"
    folder.mkdir()
    again = run(job.model_copy(update={"folder": folder, "resume_from": tmp_path / "kept" / "1.ckpt"}))[-1]
    assert again["weights"].read_bytes() == finished["weights"].read_bytes()


def test_boxes_are_fused_as_the_paper_has_it() -> None:
    one = np.array([[10, 10, 50, 50, 0.9, 0], [100, 100, 120, 140, 0.6, 1]], np.float32)
    other = np.array([[14, 10, 54, 50, 0.3, 0], [10, 10, 50, 50, 0.8, 1]], np.float32)
    fused = fuse([one, other], 200, 300)
    # Boxes weigh by their scores; scores are means over the members, 0 where a member has found nothing.
    wanted = [
        [11, 10, 51, 50, (0.9 + 0.3) / 2, 0],  # x1 = (0.9 x 10 + 0.3 x 14) / 1.2
        [10, 10, 50, 50, 0.8 / 2, 1],  # another class is another object
        [100, 100, 120, 140, 0.6 / 2, 1],
    ]
    np.testing.assert_allclose(fused, wanted, atol=1e-4)
    twice = np.array([[10, 10, 50, 50, 0.8, 0], [13, 10, 53, 50, 0.8, 0]], np.float32)
    np.testing.assert_allclose(fuse([twice, twice[:0]], 200, 300)[0, 4], 0.4, atol=1e-6), "one member, however often"


def test_what_is_fused_lies_between_what_was_found() -> None:
    """Whatever is found: boxes within the hull of their members' and in the image, scores no higher than the best."""
    for seed in range(20):
        random = np.random.default_rng(seed)
        found = []
        for count in random.integers(0, 25, 3):
            corner = random.uniform(-20, 180, (count, 2))
            rows = [corner, corner + random.uniform(0, 60, (count, 2)), random.random((count, 1)),
                    random.integers(0, 2, (count, 1))]  # fmt: skip
            found.append(np.concatenate(rows, axis=1).astype(np.float32))
        fused = fuse(found, 160, 200)
        every = np.concatenate(found)
        assert len(fused) <= len(every) and fused.dtype == np.float32 and fused.shape[1] == 6
        assert (fused[:, :4] >= 0).all() and (fused[:, [0, 2]] <= 200).all() and (fused[:, [1, 3]] <= 160).all()
        assert (np.diff(fused[:, 4]) <= 0).all() and fused[:, 4].max(initial=0) <= every[:, 4].max(initial=0)
        for label in (0, 1):
            assert (fused[:, 5] == label).any() <= (every[:, 5] == label).any()
        np.testing.assert_array_equal(fused, fuse(found, 160, 200))
        best = [each[each[:, 4] == each[:, 4].max(initial=0)] for each in found]
        assert fuse(best[:1] * 3, 160, 200)[:, 4] == pytest.approx(best[0][:, 4][: len(fuse(best[:1], 160, 200))])


def test_several_detectors_look_together(tmp_path: Path) -> None:
    paths = [teacher_file(tmp_path / name) for name in ("one", "other")]
    _shift(paths[1])
    together = write(paths, tmp_path / "both")
    assert write(paths, tmp_path / "again").read_bytes() == together.read_bytes()
    image = np.random.default_rng(1).integers(0, 255, (72, 96, 3), np.uint8)
    how: dict[str, Any] = {"classes": CLASSES, "imgsz": 96, "predict": EVERYTHING, "device": "cpu"}
    both = EnsembleDetector(together, oid=hash_file(together), config_dir=tmp_path / "yolo", **how)
    alone = [Detector(path, oid=hash_file(path), config_dir=tmp_path / "yolo", **how) for path in paths]
    (found,) = both.predict([image])
    wanted = fuse([each.predict([image])[0] for each in alone], 72, 96)[:30]
    np.testing.assert_allclose(found, wanted, atol=1e-4)
    assert len(found) and not any(np.array_equal(found, each.predict([image])[0]) for each in alone)
    floor = float(found[3, 4]) - 1e-6
    assert len(both.predict([image], conf=floor)[0]) == (found[:, 4] >= floor).sum()
    assert len(both.predict([image], max_det=2)[0]) <= 2
    more = EnsembleDetector(together, oid=hash_file(together), config_dir=tmp_path / "yolo",
                            **{**how, "predict": EVERYTHING.but(slice_px=64, tta=True)})  # fmt: skip
    assert len(more.predict([image])[0])


def test_mlflows_model_answers_as_they_do(tmp_path: Path) -> None:
    paths = [teacher_file(tmp_path / name) for name in ("one", "other")]
    _shift(paths[1])
    together = write(paths, tmp_path / "both")
    predict = EVERYTHING.model_dump()
    about = {"classes": CLASSES, "imgsz": 96, "predict": predict, "weights_sha256": hash_file(together)}
    (tmp_path / "model.json").write_text(json.dumps(about))
    artifacts = {"weights": str(together), "model": str(tmp_path / "model.json")}
    artifacts |= {path.stem: str(path) for path in SERVED.modules}
    served = BoxDetector()
    served.load_context(SimpleNamespace(artifacts=artifacts))
    image = np.random.default_rng(1).integers(0, 255, (72, 96, 3), np.uint8)
    table = served.predict(None, image)
    ours = EnsembleDetector(together, oid=hash_file(together), classes=CLASSES, imgsz=96, predict=EVERYTHING,
                            config_dir=tmp_path / "yolo")  # fmt: skip
    (wanted,) = ours.predict([np.ascontiguousarray(image[:, :, ::-1])])
    np.testing.assert_allclose(table["score"], wanted[:, 4], atol=1e-5)
    np.testing.assert_allclose(table["width_px"], wanted[:, 2] - wanted[:, 0], atol=1e-3)
    assert len(table) and "ensemble-boxes" in SERVED.requirements


def _shift(path: Path) -> None:
    import torch

    from tasks.training.ultralytics_loading import load_checkpoint

    held = load_checkpoint(path)
    for branch in held["model"].model[-1].cv2:
        branch[-1].weight.data *= 0.5
    torch.save(held, path)


def test_a_file_that_is_damaged_or_no_such_file_is_refused(tmp_path: Path) -> None:
    member = teacher_file(tmp_path)
    assert not is_ensemble(member)
    together = write([member, member], tmp_path / "both")
    how: dict[str, Any] = {"classes": CLASSES, "imgsz": 64}
    with pytest.raises(IntegrityError):
        EnsembleDetector(together, oid="0" * 64, **how)
    cut = tmp_path / "cut"
    cut.write_bytes(together.read_bytes()[:-2000])
    assert is_ensemble(cut)
    with pytest.raises(DataError, match="several detectors"):
        EnsembleDetector(cut, oid=hash_file(cut), **how)
    with pytest.raises(DataError, match="several detectors"):
        EnsembleDetector(member, oid=hash_file(member), **how)
    with pytest.raises(DataError, match="the classes"):
        EnsembleDetector(together, oid=hash_file(together), classes=("other",), imgsz=64)
    evil = tmp_path / "evil"
    evil.write_bytes(together.read_bytes().replace(b"/02.pt", b"/../xy"))
    with pytest.raises(ValueError, match="no file of several detectors"):
        unpack(evil, tmp_path)


@pytest.mark.parametrize("role", ["weights", "teacher"])
def test_nothing_begins_with_several_or_learns_from_them(tmp_path: Path, role: str) -> None:
    member = teacher_file(tmp_path)
    job = make_job(tmp_path / "run", epochs=1)
    job = job.model_copy(update={role: write([member, member], tmp_path / "both.pt")})
    with pytest.raises(ConfigError, match=f"{role}: several detectors in one file"):
        run(job)


def test_the_night_trains_evaluates_and_compares_them_and_exports_them_not(
    lake: Lake, line: Line, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = write_dataset(tmp_path / "data", val=True)
    recipe = line.recipe.model_copy(update={"plots": False, "epochs": 1, "min_steps": 0, "members": 2})
    line = line.model_copy(update={"recipe": recipe})
    killed = killing(monkeypatch, lambda event: event["event"] == "checkpoint" and event["epoch"] == 1)
    said: list[str] = []
    trained = train_unregistered(lake, line, DETECTION, "e" * 64, data, True, progress=said.append)
    assert (len(killed), trained.resumed_from_epoch, trained.epochs) == (1, 1, 2), "killed between two members"
    assert any(text.startswith("member 2 of 2, training on cpu") for text in said)
    path = lake.blobs.fetch(trained.weights_oid)
    oids = (trained.weights_oid, trained.weights_oid)
    assert is_ensemble(path) and compare_weights(path, path, oids).tensors % 2 == 0
    options = {"imgsz": trained.setup["imgsz"], "predict": trained.recipe["predict"]}
    model = ModelRef(model_version="1", weights_oid=trained.weights_oid, classes=CLASSES, options=options)
    image = cv2.imread(str(next((tmp_path / "data/images/val").glob("*.png"))))
    (boxes,) = DETECTION.predictors.load(lake, model, "cpu").predict([image])
    assert boxes.shape[1] == 6
    about = ModelAbout(
        line=line.line, kind="detection", run_key=trained.run_key, dataset_version="e" * 64, classes=CLASSES,
        weights_oid=trained.weights_oid, imgsz=64, predict=trained.recipe["predict"],
    )  # fmt: skip
    with pytest.raises(ConfigError, match="the model is several detectors") as caught:
        make(lake, about, "onnx", "fp32", [], tmp_path)
    assert "serve it as it is" in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"members": 0}, "members: expected a whole number from 1 to 10"),
        ({"members": 11}, "members: expected a whole number from 1 to 10"),
        ({"fusion": "weights"}, "fusion: has no effect: there is one detector"),
        ({"members": 2, "fusion": "soup"}, "fusion: expected one of boxes, weights"),
        ({"members": 2, "fusion": "weights"}, "fusion: weights can be averaged of detectors alone that began with the"),
        ({"members": 2, "device": "0,1"}, "members: are trained on one device, found 0,1"),
        ({"stages": [{"members": 2}]}, "members: cannot be set, it holds for the whole training"),
        ({"model": "retinanet", "members": 2}, "members: no such argument"),
    ],
)  # fmt: skip
def test_what_a_recipe_cannot_say_of_members(changes: dict[str, Any], fault: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_recipe(RecipeChoice(name="detection-from-scratch", **changes))
    assert fault in str(caught.value)
