"""The wheel with nothing but its base, in an environment of its own: it brings recordings, by S3 credentials alone."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tasks.config import HOME
from tasks.lake import Lake
from tests.ingest.clips import write_clip
from tests.s3_servers import S3Server

pytestmark = pytest.mark.integration
MOST_MB = 200
HEAVY = ("torch", "airflow", "mlflow", "pyiceberg", "pyarrow", "cv2", "pandas", "sqlalchemy")

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def lean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh environment with the wheel and the locked releases of its base."""
    folder = tmp_path_factory.mktemp("lean")
    beside = HOME / ".uv/bin/uv"
    uv = str(beside) if beside.is_file() else shutil.which("uv")
    assert uv, "uv is not there: make install"

    def call(*words: str) -> None:
        done = subprocess.run([uv, *words, "--quiet"], cwd=HOME, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr

    constraints = ("--build-constraints", "docker/build/requirements.txt")
    call("build", "--wheel", *constraints, "--out-dir", str(folder / "dist"))
    locked = ("--frozen", "--no-default-groups", "--no-emit-project", "--output-file", str(folder / "base.txt"))
    call("export", *locked)
    call("venv", "--python", "3.11", str(folder / "env"))
    python = ("--python", str(folder / "env/bin/python"))
    call("pip", "install", *python, "--require-hashes", "--requirement", str(folder / "base.txt"))
    call("pip", "install", *python, "--no-deps", *map(str, (folder / "dist").glob("*.whl")))
    return folder / "env"


@pytest.fixture
def run(lean: Path, lake: Lake, tmp_path: Path) -> Run:
    """Runs the lean installation's command; all it knows are the landing bucket and its key."""
    s3 = lake.settings.s3
    own = {
        "PATH": os.environ["PATH"], "HOME": str(tmp_path), "NIGHTSCOPE_S3__LANDING_BUCKET": s3.landing_bucket,
        "NIGHTSCOPE_S3__LANDING__ENDPOINT": s3.endpoint, "NIGHTSCOPE_S3__LANDING__ACCESS_KEY": s3.access_key,
        "NIGHTSCOPE_S3__LANDING__SECRET_KEY": s3.secret_key.get_secret_value(),
    }  # fmt: skip

    def call(*words: str) -> subprocess.CompletedProcess[str]:
        command = [str(lean / "bin/nightscope"), *words]
        return subprocess.run(command, env=own, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120)

    return call


def test_it_is_small(lean: Path) -> None:
    size_mb = sum(path.lstat().st_size for path in lean.rglob("*")) / 1e6
    assert size_mb < MOST_MB
    code = f"import importlib.util as u; print([n for n in {HEAVY} if u.find_spec(n)])"
    assert subprocess.check_output([lean / "bin/python", "-c", code], text=True).strip() == "[]"


def test_it_adds_a_recording(run: Run, lake: Lake, tmp_path: Path) -> None:
    assert run("--help").returncode == 0
    (tmp_path / "day").mkdir()
    clip = write_clip(tmp_path / "day" / "clip.mp4", frames=5)
    done = run("add", str(clip), "--study", "s", "--donor", "d", "--json")
    assert done.returncode == 0, done.stderr
    key = json.loads(done.stdout)["accepted"][0]["key"]
    assert lake.landing.get_bytes(key) == clip.read_bytes()
    assert [info.key for info in lake.store.list()] == [], "and nothing else"
    again = run("add", str(clip), "--study", "s", "--donor", "d", "--json")
    assert json.loads(again.stdout)["accepted"][0]["key"] == key


def test_it_adds_stills_and_pseudonyms(run: Run, lake: Lake, tmp_path: Path) -> None:
    from PIL import Image

    for number in range(3):
        (tmp_path / "stills").mkdir(exist_ok=True)
        Image.new("L", (8, 8), number).save(tmp_path / "stills" / f"{number}.png")
    done = run("add", "--stills", "--pseudonym", "--donor", "Ana", str(tmp_path / "stills"), "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["new"] == 3
    assert not [info.key for info in lake.landing.list() if b"Ana" in lake.landing.get_bytes(info.key)]


def test_what_it_cannot_do_it_says_in_a_sentence(run: Run, tmp_path: Path) -> None:
    for words, extra in ((("up",), "stack"), (("status",), "stack"), (("keys", "rotate", "--lost"), "lake")):
        done = run(*words)
        assert done.returncode == 1 and "Traceback" not in done.stderr, done.stderr
        assert f"nightscope[{extra}]" in done.stderr or extra == "lake", done.stderr
    done = run("add", str(tmp_path), "--donor", "d", "--readmit")
    assert done.returncode == 1 and "only brings recordings" in done.stderr


def test_the_doctor_looks_at_what_is_there(run: Run, lake: Lake, tmp_path: Path) -> None:
    (tmp_path / ".local/state/nightscope").mkdir(parents=True, mode=0o700)
    done = run("doctor", "--json")
    assert done.returncode == 0, done.stdout
    looked = {each["check"] for each in json.loads(done.stdout)["findings"]}
    assert looked == {"settings.parse", "settings.names", "state.folder", "state.secrets", "state.disk", "s3.buckets",
                      "s3.clock", "s3.keys"}  # fmt: skip


def test_a_night_takes_in_what_it_brought(run: Run, lake: Lake, tmp_path: Path, s3_server: S3Server) -> None:
    from tasks.ingest.recordings import ingest_new

    clip = write_clip(tmp_path / "clip.mp4", frames=5)
    assert run("add", str(clip), "--donor", "d").returncode == 0
    assert len(ingest_new(lake, ()).new) == 1
