"""Networks, the weights they start from, and files of weights that could run something."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from tasks.errors import DataError
from tasks.kinds.classification import networks
from tasks.kinds.classification.allowed import MODELS
from tasks.kinds.classification.comparison import compare_weights
from tasks.kinds.classification.inference import place_of, predict, probabilities, squared, stacked, turned
from tasks.kinds.classification.loading import load_classifier, start_from
from tasks.kinds.classification.predictor import LoadedClassifier
from tasks.lake.blobs import hash_file
from tasks.training.installed import INSTALLED, installed_file
from tasks.training.tensors import read_tensors


class Bomb:
    """Makes a folder when it is unpickled: what an attacker's pickle does, only harmless."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.mark),)


def spec(**changes: Any) -> dict[str, Any]:
    return {
        "model": "small-cnn", "classes": ["a", "b"], "multi_label": False, "imgsz": 32, "fit": "pad", "mean": [0.5] * 3,
        "std": [0.5] * 3, "head": {"kind": "network"}, "temperature": {"plain": 2.0, "tta": 1.0}, "dropout": 0.5,
        "drop_path": 0.0, **changes,
    }  # fmt: skip


@pytest.mark.parametrize(
    "model", ["small-cnn", "improved-cnn", "tf_efficientnet_lite0", "resnet18", "vit_tiny_patch16_224"]
)
def test_networks_classify_give_features_and_name_their_head(model: str) -> None:
    network = networks.build_bare(model, 3, 64).eval()
    pictures = torch.rand(2, 3, 64, 64)
    with torch.inference_mode():
        assert network(pictures).shape == (2, 3)
        every, last = (networks.features_of(network, pictures, blocks) for blocks in (0, 2))
        both = networks.features_of(network, pictures, 2, "mean+deviation", last_layer=False)
        _, outputs = network.forward_intermediates(pictures, indices=2)
    assert every.shape[1] > last.shape[1] > 0
    means, deviations = both.chunk(2, 1)
    assert torch.equal(means, last[:, : means.shape[1]]), "without what the last layer sees"
    assert np.allclose(deviations, np.concatenate([output.numpy().std((2, 3)) for output in outputs], 1), atol=1e-4)
    _assert_a_window_weighs(network, pictures, outputs)
    names = {name for name, module in network.named_modules() if module is network.get_classifier()}
    assert names <= {"head", "classifier", "fc"} and names


def _assert_a_window_weighs(network: Any, pictures: torch.Tensor, outputs: list[torch.Tensor]) -> None:
    """Compare pooling through a window of a fifth of the side with numpy's weighted mean and deviation."""
    with torch.inference_mode():
        both = networks.features_of(network, pictures, 2, "mean+deviation", last_layer=False, window=0.2).numpy()
        alone = networks.features_of(network, pictures, 2, "deviation", last_layer=False, window=0.2).numpy()
    means, deviations = [], []
    for output in outputs:
        values = output.numpy().astype(np.float64)
        rows, columns = (((np.arange(count) + 0.5) / count - 0.5) / 0.2 for count in values.shape[2:])
        weights = np.exp(-(rows[:, None] ** 2 + columns**2) / 2)
        means.append(np.average(values.reshape(*values.shape[:2], -1), 2, weights.ravel()))
        squares = (values - means[-1][:, :, None, None]) ** 2
        deviations.append(np.average(squares.reshape(*values.shape[:2], -1), 2, weights.ravel()) ** 0.5)
    assert np.allclose(both, np.concatenate([*means, *deviations], 1), atol=1e-4)
    assert np.array_equal(alone, both[:, both.shape[1] // 2 :])


def test_contrast_made_alike_and_another_networks_normalisation() -> None:
    random = np.random.default_rng(0)
    values = np.stack(
        [random.uniform(0.2, 0.3, (3, 16, 16)), random.uniform(0, 1, (3, 16, 16)), np.full((3, 16, 16), 0.4)]
    )
    mean, std = [0.5, 0.4, 0.3], [0.2, 0.3, 0.1]
    given = (torch.from_numpy(values) - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)
    look = {"contrast": "as-is", "mean": [0.1, 0.2, 0.3], "std": [0.5, 0.5, 1.0]}
    wanted = (values - np.array(look["mean"])[:, None, None]) / np.array(look["std"])[:, None, None]
    assert np.allclose(networks.as_seen_by(look, given, mean, std).numpy(), wanted, atol=1e-6)
    assert networks.as_seen_by({"contrast": "as-is", "mean": mean, "std": std}, given, mean, std) is given
    plain = {"contrast": "alike", "mean": [0.0] * 3, "std": [1.0] * 3}
    alike = networks.as_seen_by(plain, given, mean, std).numpy()
    middle = values.mean((1, 2, 3), keepdims=True)
    spread = np.maximum(values.std((1, 2, 3), keepdims=True), 1 / 255)
    assert np.allclose(alike, np.clip((values - middle) / spread * 48 / 255 + 128 / 255, 0, 1), atol=1e-6)
    assert np.allclose(alike[:2].std((1, 2, 3)), 48 / 255, atol=1e-3) and np.allclose(alike[2], 128 / 255, atol=1e-6)


def test_every_model_that_a_recipe_may_name_can_be_built_without_a_download() -> None:
    import timm

    assert all(model in networks.OURS or timm.is_model(model) for model in MODELS)


@pytest.mark.parametrize("name", list(INSTALLED))
def test_before_it_has_learned_a_network_finds_all_classes_as_likely(name: str) -> None:
    torch.manual_seed(0)
    network = networks.build_bare(INSTALLED[name].model, 3, 64).eval()
    path, oid = installed_file(name)
    start_from(network, path, oid, INSTALLED[name].model, 3)
    with torch.inference_mode():
        chances = network(torch.randn(4, 3, 64, 64)).softmax(1)
    assert float(chances.max()) < 0.5


@pytest.mark.parametrize("name", list(INSTALLED))
def test_installed_weights_go_into_timms_network_by_order(name: str) -> None:
    path, oid = installed_file(name)
    model = INSTALLED[name].model
    torch.manual_seed(0)
    network = networks.build_bare(model, 5, 64)
    head = network.classifier.weight.clone()
    start_from(network, path, oid, model, 5)
    theirs = list(torch.load(path, weights_only=True).values())
    for ours, other in zip(list(network.state_dict().values())[:-2], theirs[:-2], strict=True):
        assert torch.equal(ours, other)
    assert torch.equal(network.classifier.weight, head), "the head is of other classes"
    wrong = networks.build_bare("resnet18", 5, 64)
    with pytest.raises(DataError, match="expected those of"):
        start_from(wrong, path, oid, "resnet18", 5)


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_a_users_file_of_timms_weights(tmp_path: Path, suffix: str) -> None:
    torch.manual_seed(1)
    other = networks.build_bare("resnet18", 1000, 64)
    path = tmp_path / f"mine{suffix}"
    if suffix == ".pt":
        torch.save({"state_dict": {f"module.{key}": value for key, value in other.state_dict().items()}}, path)
    else:
        save_file(other.state_dict(), path)
    network = networks.build_bare("resnet18", 3, 64)
    start_from(network, path, "0" * 64, "resnet18", 3)
    assert torch.equal(network.layer4[1].conv2.weight, other.layer4[1].conv2.weight)
    assert network.fc.weight.shape[0] == 3
    with pytest.raises(DataError, match=r"are not those of small-cnn with 3 classes.*expected the tensor blocks"):
        start_from(networks.build_bare("small-cnn", 3, 64), path, "0" * 64, "small-cnn", 3)


def test_a_header_whose_length_looks_like_a_pickle_is_safetensors(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    for filler in range(0, 512, 8):
        save_file({"a": torch.ones(2)}, path, metadata={"note": "x" * filler})
        assert torch.equal(read_tensors(path)["a"], torch.ones(2)), path.read_bytes()[:1]


def test_weights_without_counters_of_batches_are_taken(tmp_path: Path) -> None:
    other = networks.build_bare("small-cnn", 2, 32)
    kept = {name: each for name, each in other.state_dict().items() if not name.endswith("num_batches_tracked")}
    save_file(kept, tmp_path / "weights.safetensors")
    network = networks.build_bare("small-cnn", 2, 32)
    start_from(network, tmp_path / "weights.safetensors", "0" * 64, "small-cnn", 2)
    assert torch.equal(network.state_dict()["blocks.0.0.weight"], kept["blocks.0.0.weight"])


def test_weights_of_the_same_classes_keep_their_head(tmp_path: Path) -> None:
    torch.manual_seed(2)
    other = networks.build_bare("small-cnn", 2, 32)
    networks.write(tmp_path / "weights.pt", other, spec())
    network = networks.build_bare("small-cnn", 2, 32)
    start_from(network, tmp_path / "weights.pt", "0" * 64, "small-cnn", 2)
    assert torch.equal(network.head[-1].weight, other.head[-1].weight)


def test_nothing_in_a_file_of_weights_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mark = tmp_path / "it-ran"
    bomb = tmp_path / "bomb.pt"
    torch.save({"spec": "{}", "state": Bomb(mark)}, bomb)
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    for load in (load_classifier, read_tensors, LoadedClassifier):
        with pytest.raises(DataError, match=r"cannot be loaded"):
            load(bomb)
    with pytest.raises(DataError):
        start_from(networks.build_bare("small-cnn", 2, 32), bomb, "0" * 64, "small-cnn", 2)
    assert not mark.exists()
    torch.load(bomb, weights_only=False) if os.environ.pop("TORCH_FORCE_WEIGHTS_ONLY_LOAD") else None
    assert mark.exists(), "the bomb is no bomb, and the test shows nothing"


@pytest.mark.parametrize("content", [b"", b"no weights", b"PK\x03\x04nothing", b"\x80\x04\x95" + b"[" * 1000])
def test_what_is_no_file_of_weights(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "some.pt"
    path.write_bytes(content)
    for load in (load_classifier, read_tensors):
        with pytest.raises(DataError, match=r"some\.pt cannot be loaded"):
            load(path)
    torch.save([1, 2], path)
    with pytest.raises(DataError, match=r"some\.pt"):
        read_tensors(path)


def test_the_same_network_is_the_same_file_and_differences_are_named(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = networks.build_bare("small-cnn", 2, 32)
    paths = [tmp_path / name / "weights.pt" for name in "ab"]
    for path in paths:
        path.parent.mkdir()
        networks.write(path, network, spec())
    oids = tuple(hash_file(path) for path in paths)
    assert oids[0] == oids[1]
    with torch.no_grad():
        network.head[-1].bias[0] += 1
    networks.write(paths[1], network, spec())
    found = compare_weights(paths[0], paths[1], (hash_file(paths[0]), hash_file(paths[1])))
    assert not found.same_bytes and found.differing_tensors == 1
    assert found.first is not None and (found.first.name, found.first.differing) == ("head.5.bias", 1)


def test_temperature_and_labels(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = networks.build_bare("small-cnn", 2, 32).eval()
    pictures = [np.full((20, 30, 3), 200, np.uint8)]
    hot, cold = (predict(network, pictures, spec(temperature={"plain": value, "tta": 1.0})) for value in (5.0, 1.0))
    assert hot.dtype == np.float64 and hot.sum() == pytest.approx(1)
    assert abs(hot[0, 0] - 0.5) < abs(cold[0, 0] - 0.5)
    logits = np.array([[0.0, 1000.0], [-1000.0, 3.0]])
    many = probabilities(logits, 1.0, multi_label=True)
    assert many[0].tolist() == [0.5, 1.0] and 0 <= many[1, 0] < 1e-300
    assert predict(network, [], spec()).shape == (0, 2)


def test_classes_must_be_those_of_the_model(tmp_path: Path) -> None:
    networks.write(tmp_path / "weights.pt", networks.build_bare("small-cnn", 2, 32), spec())
    assert LoadedClassifier(tmp_path / "weights.pt", classes=("a", "b"), device="cpu").classes == ("a", "b")
    with pytest.raises(DataError, match="expected the classes"):
        LoadedClassifier(tmp_path / "weights.pt", classes=("b", "a"))


@pytest.mark.parametrize("shape", [(40, 40), (30, 60), (60, 30), (1, 50), (300, 200)])
@pytest.mark.parametrize("fit", ["pad", "stretch", "crop"])
def test_pictures_become_squares(shape: tuple[int, int], fit: str) -> None:
    picture = np.random.default_rng(0).integers(0, 255, (*shape, 3), dtype=np.uint8)
    square = squared(picture, 32, fit)
    assert square.shape == (32, 32, 3) and square.dtype == np.uint8
    place = place_of(*shape, 32, fit)
    longest = max(place.height, place.width) if fit == "pad" else min(place.height, place.width)
    assert longest == 32


def test_the_eight_ways_to_turn_a_square_are_eight() -> None:
    square = stacked([np.arange(48, dtype=np.uint8).reshape(4, 4, 3)])
    assert len({turned(square, way).numpy().tobytes() for way in range(8)}) == 8
    assert torch.equal(turned(square, 0), square)
