"""Installing Label Studio's own environment."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tasks.config import HOME
from tasks.errors import StackError
from tasks.stack.install import fingerprint, install

REQUIREMENTS = HOME / "docker" / "label-studio" / "requirements.txt"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    folder = tmp_path / "docker" / "label-studio"
    folder.mkdir(parents=True)
    (folder / "requirements.txt").write_text("label-studio==1.0\n")
    return tmp_path


def fake_uv(folder: Path, label_studio: str) -> str:
    """A uv whose `venv` makes a `label-studio` that runs the shell lines `label_studio`."""
    uv = folder / "uv"
    uv.write_text(
        f"""#!/bin/sh
echo "$@" >> "{folder}/uv.log"
if [ "$1" = venv ]; then
  for last; do :; done
  rm -rf "$last"; mkdir -p "$last/bin"
  printf '#!/bin/sh\\n%s\\n' '{label_studio}' > "$last/bin/label-studio"
  chmod +x "$last/bin/label-studio"
fi
"""
    )
    uv.chmod(0o755)
    return str(uv)


MIGRATES = 'echo migrated > "$LABEL_STUDIO_BASE_DATA_DIR/label_studio.sqlite3"'


def test_every_requirement_is_pinned_and_hashed() -> None:
    entries = re.split(r"\n(?=\S)", REQUIREMENTS.read_text().split("\n", 2)[2])

    assert any(entry.startswith("label-studio==1.23.2") for entry in entries)
    assert not [entry for entry in entries if entry.strip() and ("==" not in entry or "--hash=sha256:" not in entry)]


def test_installs_once(checkout: Path) -> None:
    uv = fake_uv(checkout, MIGRATES)

    assert install(checkout, uv=uv)
    assert not install(checkout, uv=uv)

    assert len((checkout / "uv.log").read_text().splitlines()) == 2
    env_dir = checkout / ".nightscope" / "envs" / "label-studio"
    assert (env_dir / "share" / "nightscope" / "label_studio.sqlite3").read_text() == "migrated\n"


def test_installs_again_when_the_list_changes(checkout: Path) -> None:
    uv = fake_uv(checkout, MIGRATES)
    install(checkout, uv=uv)

    (checkout / "docker" / "label-studio" / "requirements.txt").write_text("label-studio==2.0\n")

    assert install(checkout, uv=uv)


def test_a_failed_install_is_done_again(checkout: Path) -> None:
    with pytest.raises(StackError, match="cannot migrate"):
        install(checkout, uv=fake_uv(checkout, "echo no; exit 1"))

    assert install(checkout, uv=fake_uv(checkout, MIGRATES))


def test_says_that_uv_is_missing(checkout: Path) -> None:
    with pytest.raises(StackError, match="uv is not there"):
        install(checkout, environ={"PATH": ""})


def test_says_that_the_list_is_missing(tmp_path: Path) -> None:
    with pytest.raises(StackError, match="complete checkout"):
        fingerprint(tmp_path / "requirements.txt")
