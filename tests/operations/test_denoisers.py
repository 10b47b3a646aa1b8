"""A denoiser is trained, measured beside the classical filters, and filed; commands show it."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from tasks.cli import app
from tasks.denoising.denoise import Denoiser
from tasks.denoising.pairs import phantom_pairs
from tasks.errors import ConfigError
from tasks.lake import Lake
from tasks.operations import denoisers
from tasks.operations.denoisers import train_denoiser
from tasks.session import open_session

SMALL = {"width": 4, "levels": 1, "steps": 3, "batch": 1, "crop_px": 16}


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """As few pictures to measure on as will do."""
    monkeypatch.setattr(denoisers, "TUNE", 1)
    monkeypatch.setattr(denoisers, "TEST", 2)


def test_it_is_trained_measured_and_filed_and_not_twice(installed: Lake) -> None:
    with open_session() as session:
        made = train_denoiser(session, "speckle", plan=SMALL, pictures=2)
        again = train_denoiser(session, "speckle", plan=SMALL, pictures=2)
        other = train_denoiser(session, "speckle", plan={**SMALL, "seed": 1}, pictures=2)
    assert (made.called, made.found, again.called, again.found) == ("speckle/1", False, "speckle/1", True)
    assert (other.called, other.found) == ("speckle/2", False) and other.weights_oid != made.weights_oid
    assert again.model_dump() == {**made.model_dump(), "found": True}
    assert made.plan["seed"] == 0 and made.plan["steps"] == 3 and made.by.startswith("os:")
    parts = {part: (said["seed"], said["count"]) for part, said in made.pictures.items()}
    assert parts == {"learned_from": (1, 2), "strengths_from": (2, 1), "measured_on": (3, 2)}, "no seed in two of them"
    assert len({said["sha256"] for said in made.pictures.values()}) == 3

    names = [row["filter"] for row in made.quality]
    assert names[:4] == ["nothing", "median", "bilateral", "non-local means"] and names[-1] == "U-Net"
    assert all(0 < row["psnr_db"] < 60 and 0 < row["ssim"] <= 1 and row["cpu_ms"] >= 0 for row in made.quality)
    picture = next(iter(phantom_pairs(1, seed=9))).speckled
    smooth = Denoiser.of(installed.blobs.get_bytes(made.weights_oid), "it").denoise(picture)
    assert smooth.shape == picture.shape and smooth.dtype == picture.dtype


def test_all_that_is_wrong_is_said_at_once(installed: Lake) -> None:
    with open_session() as session, pytest.raises(ConfigError) as caught:
        train_denoiser(session, "Speckle/1", plan={"steps": 0, "speed": 3}, pictures=0)
    said = str(caught.value)
    for fault in ("name: expected small letters", "pictures: expected 1", "speed: no such value", "steps: "):
        assert fault in said, said
    assert "crop_px" in str(caught.value.fix)


def test_commands_train_list_and_show(installed: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    def ran(*arguments: str) -> str:
        done = CliRunner().invoke(app, ["denoiser", *arguments])
        assert done.exit_code == 0, done.output
        return done.stdout

    values = [part for key, value in SMALL.items() for part in ("--set", f"{key}={value}")]
    made = json.loads(ran("train", "speckle", "--pictures", "2", *values, "--json"))
    assert made["version"] == 1 and made["found"] is False
    assert "not again" in ran("train", "speckle", "--pictures", "2", *values)
    listed = json.loads(ran("list", "--json"))
    assert [each["weights_oid"] for each in listed] == [made["weights_oid"]]
    assert "speckle/1" in ran("list")
    page = ran("show", "speckle/1")
    assert "non-local means" in page and "U-Net" in page and made["weights_oid"] in page
    assert "has a higher PSNR than this network" in page, "three steps are not enough"
    assert json.loads(ran("show", "speckle/1", "--json")) == {k: v for k, v in made.items() if k != "found"}
