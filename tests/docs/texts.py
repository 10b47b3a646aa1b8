"""The texts that people read: the README, the pages of the site, and what a page shows of the command line."""

from __future__ import annotations

import importlib.util
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

from tasks.config import HOME

BESIDE = ("README.md", "CONTRIBUTING.md", "SECURITY.md", "examples/README.md")
TEXTS = sorted([*(HOME / "docs").rglob("*.md"), *(HOME / name for name in BESIDE)])
"""Not the changelog: what it names may be gone."""

_FENCE = re.compile(r"^ *```.*?^ *```$", re.M | re.S)
_SPAN = re.compile(r"`([^`]+)`")


def name_of(path: Path) -> str:
    """A text's name in a test's id."""
    return path.relative_to(HOME).as_posix()


def shown_commands(text: str, program: str) -> Iterator[list[str]]:
    """The words of every `$ program ...` line, without the program."""
    for fence in _FENCE.findall(text):
        for line in re.findall(rf"^ *\$ {program} ?(.*)$", fence, re.M):
            yield shlex.split(line, comments=True)


def mentioned_commands(text: str, program: str) -> Iterator[list[str]]:
    """The words of every command of a program that stands in backticks within a sentence, without the program."""
    for span in code_spans(text):
        if re.match(rf"{program}( |$)", span):
            yield span.replace("[", "").replace("]", "").split()[1:]


def code_spans(text: str) -> list[str]:
    """What stands in backticks within sentences."""
    return [" ".join(span.split()) for span in _SPAN.findall(_FENCE.sub("", text))]


def script(path: Path = HOME / "docs" / "site" / "reference.py") -> ModuleType:
    """A script of the checkout as a module; by default the one that writes tables from the code."""
    spec = importlib.util.spec_from_file_location(f"script_{path.stem}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def build_site(folder: Path) -> Path:
    """Build the site strictly, as `make docs` does."""
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    done = subprocess.run(command, cwd=HOME, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, f"the site does not build:\n{done.stdout}\n{done.stderr}"
    return folder
