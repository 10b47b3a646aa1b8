"""What is installed: everything by hash, and a list of it that is not empty."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tasks.config import HOME

pytestmark = pytest.mark.integration  # starts cyclonedx and builds a wheel: seconds each

BUILD = HOME / "docker" / "build"


@pytest.mark.parametrize("name", ["uv.txt", "requirements.txt"])
def test_what_installs_and_builds_is_pinned_by_hash(name: str) -> None:
    lines = [line for line in (BUILD / name).read_text().splitlines() if line and not line.startswith("#")]

    assert lines
    for line in lines:
        assert re.fullmatch(r"[a-z-]+==[\w.]+( --hash=sha256:[0-9a-f]{64})+", line), line


def test_the_makefile_installs_nothing_without_a_hash() -> None:
    makefile = (HOME / "Makefile").read_text()
    installs = [
        line for line in makefile.splitlines() if re.search(r"\b(pip install|uv\) sync|apt-get .* install)", line)
    ]

    assert len(installs) >= 4
    for line in installs:
        hashed = "$(HASHED)" in line or "--require-hashes" in line or "sync --frozen" in line
        signed = "apt-get -qq install" in line  # apt checks what Debian has signed
        assert hashed or "--no-deps --no-build-isolation --editable ." in line or signed, line
    assert "--require-hashes" in makefile.split("HASHED := ")[1].splitlines()[0]


def test_hatchling_is_the_one_that_builds() -> None:
    assert 'requires = ["hatchling"]' in (HOME / "pyproject.toml").read_text()
    assert "hatchling==" in (BUILD / "requirements.txt").read_text()


def test_the_list_of_what_is_installed_names_it_with_versions(tmp_path: Path) -> None:
    """As `make sbom` writes it, of the environment that runs this test."""
    target = tmp_path / "sbom.json"
    program = Path(sys.executable).parent / "cyclonedx-py"
    command = [str(program), "environment", sys.executable, "--of", "JSON", "-o", str(target)]
    subprocess.run(command, check=True, capture_output=True, timeout=300)
    document = json.loads(target.read_text())
    found = {each["name"].lower(): each for each in document["components"]}

    assert document["bomFormat"] == "CycloneDX"
    assert {"mlflow", "torch", "apache-airflow", "pyiceberg", "ultralytics", "cryptography"} <= set(found)
    assert all(
        each["version"] and each["purl"].startswith("pkg:pypi/") for name, each in found.items() if name == "mlflow"
    )
    assert len(found) > 100
