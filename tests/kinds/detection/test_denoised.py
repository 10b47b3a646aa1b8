"""Frames through a denoiser: the same pixels in training and wherever the finished detector looks at a picture."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
import torch
import yaml

from tasks.config import Line, RecipeChoice, Settings
from tasks.denoising.denoise import Denoiser
from tasks.denoising.speckle_unet import SpeckleUNet, build, denoise, written
from tasks.errors import ConfigError, DataError, IntegrityError, NotFound
from tasks.kind import ModelRef
from tasks.kind.images import read_image
from tasks.kinds import kind_of
from tasks.kinds.detection import denoised, detector, pyfunc_model
from tasks.kinds.detection.anchored import retinanet
from tasks.kinds.detection.anchored.dataset import Split
from tasks.kinds.detection.comparison import compare_weights
from tasks.kinds.detection.denoised_layout import DENOISING, prepared
from tasks.kinds.detection.detector import Detector
from tasks.kinds.detection.ensemble_detector import EnsembleDetector
from tasks.kinds.detection.recipe import DetectionRecipe, load_recipe
from tasks.kinds.detection.served import SERVED
from tasks.lake import Lake, open_lake
from tasks.lake.blobs import hash_file
from tasks.lake.denoisers import DenoiserVersion, file_denoiser
from tasks.training.identity import run_key
from tasks.training.train import train_unregistered
from tasks.training.worker_reports import Checkpoints
from tests.kinds.detection.small_trainings import TINY, make_job, run, teacher_file
from tests.training.conftest import write_dataset

DETECTION = kind_of("detection")
CLASSES = ("sperm", "impurity")
OPTIONS = {"imgsz": 64, "predict": {"conf": 0.0, "iou": 0.6, "max_det": 20}}


def network(seed: int) -> SpeckleUNet:
    """One that changes a picture much, and knows nothing."""
    torch.manual_seed(seed)
    made = build({"width": 4, "levels": 1})
    torch.nn.init.normal_(made.last.weight, std=1.0)
    return made.eval()


def denoiser_file(folder: Path, name: str = "speckle.safetensors", seed: int = 1) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(written(network(seed), {"width": 4, "levels": 1}))
    return folder / name


def recipe_of(name: str | None, **changes: Any) -> DetectionRecipe:
    return load_recipe(RecipeChoice(name="detection-from-scratch", **{**TINY, **changes, "denoiser": name}))


@pytest.fixture
def here(tmp_path: Path) -> Lake:
    """A lake whose installation has a denoiser in its weights' folder; no server is asked."""
    denoiser_file(tmp_path / "state/weights")
    return open_lake(Settings(state_dir=tmp_path / "state"))


def laid_out(lake: Lake, folder: Path, name: str | None = "speckle.safetensors") -> tuple[Path, Path]:
    """A dataset on disk, and what a recipe with that denoiser learns from."""
    data = folder / "d" / "data.yaml"
    if not data.is_file():
        write_dataset(data.parent, val=True)
    return data, prepared(lake, data, recipe_of(name))


def test_a_training_reads_what_the_denoiser_makes_of_each_frame(here: Lake, tmp_path: Path) -> None:
    plain, data = laid_out(here, tmp_path)
    said = yaml.safe_load(data.read_text())
    assert said["denoiser"] == hash_file(tmp_path / "state/weights/speckle.safetensors")
    assert "test" not in said and said["names"] == {0: "sperm", 1: "impurity"}
    changed = 0
    for split, count in (("train", 8), ("val", 4)):
        read = Split(data, split)
        assert len(read) == count
        for index, path in enumerate(read.images):
            raw = read_image(plain.parent / "images" / split / path.name)
            assert np.array_equal(read.read(index).image, denoise(network(1), raw))
            label = data.parent / "labels" / split / f"{path.stem}.txt"
            assert label.read_text() == (plain.parent / "labels" / split / label.name).read_text()
            changed += int(np.abs(read.read(index).image.astype(int) - raw).mean() > 3)
    assert changed == 12, "the denoiser of this test is to change every picture"


def test_each_frame_goes_through_once_whatever_learns_from_it(
    here: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    real = Denoiser.denoise
    monkeypatch.setattr(Denoiser, "denoise", lambda self, image: asked.append(1) or real(self, image))
    plain, data = laid_out(here, tmp_path)
    assert len(asked) == 12
    assert laid_out(here, tmp_path)[1] == data and len(asked) == 12, "nothing to do"
    (data.parent / "complete.json").unlink()
    (plain.parent / "images/train/000.npy").write_bytes(b"a trainer's own")
    assert laid_out(here, tmp_path)[1] == data and len(asked) == 12, "laid out again, from the cache"
    denoiser_file(tmp_path / "state/weights", "other.safetensors", seed=2)
    other = laid_out(here, tmp_path, "other.safetensors")[1]
    assert len(asked) == 24 and other.parent != data.parent, "another denoiser, other pictures"
    assert laid_out(here, tmp_path, None)[1] == plain and len(asked) == 24, "none, and nothing is done"


def trained(folder: Path, here: Lake, **changes: Any) -> tuple[Any, list[dict[str, Any]]]:
    """A job of a tiny detector behind the denoiser, and its events."""
    job = make_job(folder / "with", epochs=1, **changes)
    data = prepared(here, job.data, recipe_of("speckle.safetensors"))
    arguments = {**job.options["arguments"], "denoiser": "speckle.safetensors"}
    file = here.settings.state_dir / "weights" / "speckle.safetensors"
    job = job.model_copy(update={"data": data, "denoiser": file, "options": {**job.options, "arguments": arguments}})
    return job, run(job, folder / "kept")


def test_the_finished_detector_sees_in_use_what_it_saw_in_training(
    here: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pixel by pixel, then box by box; the weights alone know of the denoiser; gone on with, they are the same."""
    real = Checkpoints.write

    def write(self: Checkpoints, epoch: int, content: Any, *, last: bool, stage_over: bool = False) -> None:
        self._cost_s = 0.0
        real(self, epoch, content, last=last, stage_over=stage_over)

    monkeypatch.setattr(Checkpoints, "write", write)
    from ultralytics.data.dataset import YOLODataset

    learned: dict[str, Any] = {}
    load_image = YOLODataset.load_image

    def watched(self: Any, index: int, *rest: Any, **more: Any) -> Any:
        found = load_image(self, index, *rest, **more)
        learned[str(self.im_files[index])] = found[0].copy()
        return found

    monkeypatch.setattr(YOLODataset, "load_image", watched)
    job, events = trained(tmp_path, here)
    weights, file = job.folder / "weights.pt", job.denoiser
    oid = hash_file(file)
    assert [each["denoiser_oid"] for each in events if each["event"] == "started"] == [oid]
    assert denoised.carried(weights) == file.read_bytes() and denoised.oid_of(denoised.carried(weights)) == oid

    raw = {path.stem: read_image(path) for path in sorted((tmp_path / "with/data/images/train").iterdir())}
    behind = Detector(weights, oid=hash_file(weights), classes=CLASSES, imgsz=64, config_dir=tmp_path / "yolo")
    seen: list[Any] = []
    with monkeypatch.context() as patch:
        once = detector.find_objects

        def watched_too(find: Any, images: Any, **how: Any) -> Any:
            seen.extend(images)
            return once(find, images, **how)

        patch.setattr(detector, "find_objects", watched_too)
        boxes = behind.predict(list(raw.values()), conf=0.0, max_det=20)
    in_training = {Path(path).stem: pixels for path, pixels in learned.items() if "/train/" in path}
    assert set(in_training) == set(raw)
    for stem, pixels in zip(raw, seen, strict=True):
        assert pixels.tobytes() == in_training[stem].tobytes(), f"other pixels in use than in training: {stem}"
        assert pixels.tobytes() != raw[stem].tobytes()

    bare = tmp_path / "bare.pt"
    held = torch.load(weights, weights_only=False)
    torch.save({name: value for name, value in held.items() if name != "denoiser"}, bare)
    plain = Detector(bare, oid=hash_file(bare), classes=CLASSES, imgsz=64, config_dir=tmp_path / "yolo")
    for found, expected in zip(boxes, plain.predict(seen, conf=0.0, max_det=20), strict=True):
        assert len(found) == len(expected) > 0 and np.array_equal(found, expected)
    assert not compare_weights(weights, bare, ("a" * 64, "b" * 64)).same_tensors, "the denoiser is part of the model"

    again = job.model_copy(update={"folder": tmp_path / "again", "resume_from": tmp_path / "kept/1.ckpt"})
    again.folder.mkdir()
    run(again)
    assert (again.folder / "weights.pt").read_bytes() == weights.read_bytes()

    rows = served(weights, tmp_path, next(iter(raw.values())))
    assert len(rows) == len(boxes[0])
    np.testing.assert_allclose(rows["score"], boxes[0][:, 4], atol=1e-6)

    with pytest.raises(ConfigError, match=f"export to onnx.*denoiser {oid[:12]}") as caught:
        denoised.refuse_export(weights, "onnx")
    assert "nightscope serve" in str(caught.value.fix)
    denoised.refuse_export(bare, "onnx")


def served(weights: Path, folder: Path, bgr: Any) -> Any:
    """What MLflow's model says of a picture, loaded from its artifacts alone."""
    import json

    about = {
        "weights_sha256": hash_file(weights), "classes": CLASSES, "imgsz": 64,
        "predict": {"conf": 0.0, "iou": 0.7, "max_det": 20},
    }  # fmt: skip
    (folder / "model.json").write_text(json.dumps(about))
    artifacts = {path.stem: str(path) for path in SERVED.modules}
    context = SimpleNamespace(artifacts={"weights": str(weights), "model": str(folder / "model.json"), **artifacts})
    model = pyfunc_model.BoxDetector()
    model.load_context(context)
    return model.predict(context, np.ascontiguousarray(bgr[:, :, ::-1]))


def test_a_detector_with_anchors_carries_it_too(here: Lake, tmp_path: Path) -> None:
    """Trained by the worker from a lake's line; then used where nothing is but its weights."""
    spec = {"backbone": "tiny", "width": 16, "classes": list(CLASSES), "imgsz": 64, "anchors": [[12, 12]] * 3}
    file = here.settings.state_dir / "weights" / "speckle.safetensors"
    torch.manual_seed(0)
    made = retinanet.build(spec)
    both, bare = tmp_path / "both.safetensors", tmp_path / "bare.safetensors"
    retinanet.write(both, made, spec, denoised.carrying(file))
    retinanet.write(bare, made, spec)
    assert denoised.carried(both) == file.read_bytes() and denoised.carried(bare) is None
    image = np.random.default_rng(0).integers(0, 255, (48, 64, 3), dtype=np.uint8)
    from tasks.kinds.detection.anchored.detector import AnchoredDetector
    from tasks.kinds.detection.recipe import PredictOptions

    def found(weights: Path, picture: Any) -> Any:
        options = PredictOptions(conf=0.0, max_det=20)
        own = AnchoredDetector(weights, oid=hash_file(weights), classes=CLASSES, imgsz=64, predict=options)
        return own.predict([picture], conf=0.0)[0]

    through = found(both, image)
    assert len(through) > 0 and np.array_equal(through, found(bare, denoise(network(1), image)))
    assert not np.array_equal(through[:, 4], found(bare, image)[:, 4])
    rows = served(both, tmp_path, image)
    np.testing.assert_allclose(rows["score"], through[:, 4], atol=1e-5)
    with pytest.raises(ConfigError, match="cannot carry"):
        denoised.refuse_export(both, "onnx")


def test_several_detectors_look_through_one_denoiser(here: Lake, tmp_path: Path) -> None:
    """In use as in the review of the finished model, whose pictures have gone through it already; and in MLflow."""
    job, events = trained(tmp_path, here, members=2)
    weights = Path(events[-1]["weights"])
    assert denoised.carried(weights) == job.denoiser.read_bytes()
    options: dict[str, Any] = {"oid": hash_file(weights), "classes": CLASSES, "imgsz": 64, "config_dir": tmp_path / "y"}
    together, bare = EnsembleDetector(weights, **options), EnsembleDetector(weights, **options)
    bare.denoiser = None
    raw = read_image(tmp_path / "with/data/images/train/000.png")
    (found,) = together.predict([raw], conf=0.0, max_det=20)
    (expected,) = bare.predict([denoise(network(1), raw)], conf=0.0, max_det=20)
    assert np.array_equal(found, expected) and len(found) > 0
    np.testing.assert_allclose(served(weights, tmp_path, raw)["score"], found[:, 4], atol=1e-6)
    with pytest.raises(ConfigError, match=f"denoiser {denoised.oid_of(denoised.carried(weights))[:12]}"):
        denoised.refuse_export(weights, "onnx")


def test_frames_of_another_denoiser_or_none_are_no_frames_of_this_training(here: Lake, tmp_path: Path) -> None:
    plain, data = laid_out(here, tmp_path)
    file = here.settings.state_dir / "weights" / "speckle.safetensors"
    job = make_job(tmp_path / "job", epochs=1)
    asked = {**job.options, "arguments": {**job.options["arguments"], "denoiser": file.name}}
    right = job.model_copy(update={"data": data, "denoiser": file, "options": asked})
    denoised.check_job(right)
    other = denoiser_file(tmp_path, "other.safetensors", seed=2)
    for wrong in (
        {"data": plain}, {"denoiser": other}, {"denoiser": None}, {"denoiser": None, "data": plain},
        {"options": job.options},
    ):  # fmt: skip
        with pytest.raises(IntegrityError, match="frames of another denoiser"):
            denoised.check_job(right.model_copy(update=wrong))


def test_a_teacher_must_see_what_the_student_sees(here: Lake, tmp_path: Path) -> None:
    _, data = laid_out(here, tmp_path)
    file = here.settings.state_dir / "weights" / "speckle.safetensors"
    job = make_job(tmp_path / "job", teacher=teacher_file(tmp_path / "t"), epochs=1)
    denoised.check_job(job)
    asked = {**job.options, "arguments": {**job.options["arguments"], "denoiser": file.name}}
    through = job.model_copy(update={"data": data, "denoiser": file, "options": asked})
    with pytest.raises(ConfigError, match="teacher: learned from frames of another denoiser"):
        denoised.check_job(through)
    held = torch.load(job.teacher, weights_only=False)
    torch.save(held | denoised.carrying(file), job.teacher)
    denoised.check_job(through)
    with pytest.raises(ConfigError, match="a teacher without a denoiser"):
        denoised.check_job(job)


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"denoiser": "../x.safetensors"}, "denoiser: expected the oid of a blob, or the bare name of a version"),
        ({"denoiser": "speckle.pt"}, "denoiser: expected the oid"),
        ({"denoiser": "speckle/0"}, "denoiser: expected the oid"),
        ({"denoiser": True}, "denoiser: expected the oid"),
        ({"stages": [{"denoiser": "speckle/1"}]}, "stage 1: denoiser: cannot be set, it holds for the whole training"),
        ({"model": "retinanet", "denoiser": "speckle"}, "denoiser: expected the oid"),
    ],
)  # fmt: skip
def test_what_a_recipe_cannot_say_of_a_denoiser(changes: dict[str, Any], fault: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_recipe(RecipeChoice(name="detection-from-scratch", **changes))
    assert fault in str(caught.value)


@pytest.mark.parametrize("recipe", ["detection-from-scratch", "ultrasound-anchors"])
def test_recipes_of_both_detectors_may_name_one_and_rest_on_its_code(recipe: str) -> None:
    off = load_recipe(RecipeChoice(name=recipe))
    on = load_recipe(RecipeChoice(name=recipe, denoiser="speckle/12"))
    assert (off.denoiser(), on.denoiser()) == (None, "speckle/12")
    assert set(on.sources()) - set(off.sources()) == {DENOISING} and DENOISING.is_file()


def test_what_is_no_denoiser_is_refused_before_anything_is_laid_out(here: Lake, tmp_path: Path) -> None:
    (tmp_path / "state/weights/speckle.safetensors").write_bytes(b"no weights at all")
    with pytest.raises(DataError, match="cannot be loaded"):
        laid_out(here, tmp_path)


def test_a_denoiser_counts_by_its_bytes_and_must_be_there(here: Lake, tmp_path: Path, line: Line) -> None:
    def key(**changes: Any) -> str:
        own = line.model_copy(update={"recipe": line.recipe.model_copy(update=changes)})
        return run_key(here, own, "d" * 64, DETECTION)

    with pytest.raises(ConfigError, match=r"through the denoiser 'x\.safetensors'.*nightscope denoiser list"):
        key(denoiser="x.safetensors")
    one = key(denoiser="speckle.safetensors")
    denoiser_file(tmp_path / "state/weights", seed=2)
    assert len({one, key(denoiser="speckle.safetensors"), key()}) == 3


def a_version(lake: Lake, oid: str, name: str = "speckle", key: str = "k" * 64) -> DenoiserVersion:
    return file_denoiser(lake, DenoiserVersion(
        name=name, version=1, weights_oid=oid, size_bytes=1, key=key, plan={"steps": 1, "seed": 0}, pictures={},
        quality=(), seconds=1.0, by="os:0/t", at="2026-11-27T00:00:00+00:00", git_commit=None, git_dirty=None,
        lock_sha256=None, libraries={}, hardware="cpu",
    ))  # fmt: skip


def test_a_line_names_a_version_and_the_model_needs_nothing_else(lake: Lake, line: Line, tmp_path: Path) -> None:
    """By the worker: the record says which denoiser, and an empty lake with these weights alone predicts the same."""
    oid = lake.blobs.put_file(denoiser_file(tmp_path))
    a_version(lake, oid)
    sure = lake.blobs.put_file(teacher_file(tmp_path / "sure"))  # of something everywhere, so that boxes are found
    changes = {"denoiser": "speckle/1", "weights": sure, "plots": False, "epochs": 1, "min_steps": 0, "lr0": 1e-5}
    line = line.model_copy(update={"recipe": line.recipe.model_copy(update=changes)})
    with pytest.raises(NotFound, match=r"speckle/2: there is no such version.*speckle/1"):
        missing = line.model_copy(update={"recipe": line.recipe.model_copy(update={"denoiser": "speckle/2"})})
        run_key(lake, missing, "e" * 64, DETECTION)
    plain = write_dataset(tmp_path / "data", val=True)
    data = prepared(lake, plain, load_recipe(line.recipe))
    trained = train_unregistered(lake, line, DETECTION, "e" * 64, data, True, progress=lambda _: None)
    assert trained.setup["denoiser_oid"] == oid and trained.recipe["arguments"]["denoiser"] == "speckle/1"

    weights = lake.blobs.fetch(trained.weights_oid)
    model = ModelRef(model_version="1", weights_oid=trained.weights_oid, classes=CLASSES, options=OPTIONS)
    image = cv2.imread(str(tmp_path / "data/images/train/000.png"))
    (ours,) = DETECTION.predictors.load(lake, model, "cpu").predict([image])
    alone = Detector(weights, oid=trained.weights_oid, classes=CLASSES, imgsz=64, config_dir=tmp_path / "yolo")
    (theirs,) = alone.predict([image], conf=0.001, iou=0.6, max_det=20)
    assert np.array_equal(ours, theirs) and len(ours) > 0
    assert denoised.oid_of(denoised.carried(weights)) == oid
