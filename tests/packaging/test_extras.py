"""Each library that the code imports is of the base or of an extra, and a command that lacks one names its extra."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator

import pytest

from tasks.cli.missing import DISTRIBUTIONS, extras_with, missing_extra
from tasks.config import HOME

PROJECT = tomllib.loads((HOME / "pyproject.toml").read_text())["project"]
BROUGHT_ALONG = {"dotenv": "pydantic-settings", "yaml": "pyyaml"}
"""Modules of the base by another name."""
OPTIONAL = {"bm3d", "cellpose", "paddle", "x2paddle"}
"""Used where a person installed them by themselves; each is asked for before it is imported."""


def imported() -> Iterator[tuple[str, str]]:
    """Module outside of ours and of Python → a file that imports it."""
    for path in (HOME / "tasks").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [each.name for each in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) and node.module and not node.level else []
            for name in names:
                top = name.partition(".")[0]
                if top != "tasks" and top not in sys.stdlib_module_names:
                    yield top, path.relative_to(HOME).as_posix()


def distributions(requirements: list[str]) -> set[str]:
    return {re.sub(r"[-_.]+", "-", re.match(r"[A-Za-z0-9._-]+", each)[0]).lower() for each in requirements}  # type: ignore[index]


def test_every_import_is_of_the_base_or_of_an_extra() -> None:
    base = distributions(PROJECT["dependencies"])
    unknown = {
        (module, where) for module, where in imported()
        if BROUGHT_ALONG.get(module, module).replace("_", "-") not in base
        and not extras_with(module) and module not in OPTIONAL
    }  # fmt: skip
    assert not unknown, "add the library to pyproject.toml, or what brings it along to tasks/cli/missing.py"


def test_the_names_that_differ_are_of_extras() -> None:
    extras = distributions([each for own in PROJECT["optional-dependencies"].values() for each in own])
    assert set(DISTRIBUTIONS.values()) <= extras


def test_all_has_every_extra_but_the_runtimes_that_are_chosen_one_by_one() -> None:
    extras = PROJECT["optional-dependencies"]
    named = set(re.findall(r"[a-z-]+", extras["all"][0].partition("[")[2]))
    assert named == {name for name in extras if name != "all" and not name.startswith("export-")} - {"production"}


@pytest.mark.parametrize(
    ("module", "extra"),
    [("torch", "train"), ("cv2", "ingest"), ("mlflow.tracking", "train"), ("pyiceberg", "lake"),
     ("supervisor", "stack"), ("label_studio_sdk.core", "label"),
     ("fastapi", "serve"), ("openvino", "export"), ("airflow", "airflow")],
)  # fmt: skip
def test_a_missing_library_names_its_extra(module: str, extra: str) -> None:
    told = missing_extra(ModuleNotFoundError(f"No module named {module!r}", name=module))
    assert told is not None and f"nightscope[{extra}]" in str(told)


def test_a_module_of_nobody_is_a_fault_of_ours() -> None:
    assert missing_extra(ModuleNotFoundError("No module named 'tasks.nowhere'", name="tasks.nowhere")) is None
