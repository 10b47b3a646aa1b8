"""Which code a result rests on: one digest for each kind of result, over what its sources mean.

A result that the lake keeps (a training, an evaluation, a verdict, an audit, an export) is found again only while the
digest of the code that makes it is the same. The digest must change when the code could make another result, and must
not when somebody mends a comment: each of them trained every line again in the next night. So a Python source counts by
its syntax tree, without comments, docstrings, layout, and the texts of log messages, of errors and of field
descriptions; a YAML source counts by its values. See `DECIDING` for what each result rests on.
"""

from __future__ import annotations

import ast
import hashlib
import subprocess
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from threading import Lock
from typing import Literal

import yaml

from tasks.config import HOME
from tasks.schemas import digest

ROOT = Path(__file__).parent
_PARSING = Lock()
"""CPython 3.11 counts the depth of a syntax tree for all threads together, and fails where two of them parse."""

Result = Literal["training", "layout", "export", "evaluation", "verdict", "signature", "audit"]


@dataclass(frozen=True)
class Sources:
    """What one kind of result rests on.

    Attributes:
        files: Patterns below `tasks/`.
        without: Files among them that only see or show a finished result.
        libraries: Distributions whose version counts.
        results: Results that this one is made from: their code is its code, too.
    """

    files: tuple[str, ...]
    without: frozenset[str] = frozenset()
    libraries: tuple[str, ...] = ()
    results: tuple[Result, ...] = ()


_AFTER_TRAINING = frozenset(f"training/{name}.py" for name in ("export", "export_worker", "footprint", "comparison"))
_SHOWING = ("report", "content", "plots", "tables", "artifacts", "unlearned")
_ONLY_SHOWN = frozenset(f"evaluation/{name}.py" for name in _SHOWING)
# People's agreement is shown with the labels; no model is judged by it.
_NOT_JUDGING = _ONLY_SHOWN | {"metrics/label_agreement.py"}
_AUDIT = "leakage"
# Makes the small pictures that the whole audit compares.
_WATCHING = "ingest/watching.py"

DECIDING: dict[Result, Sources] = {
    # What writes a dataset version's images and label files to disk for a trainer.
    "layout": Sources(("datasets/formats/*.py",)),
    # How a finished model predicts lies in the same room, and so counts, too.
    "training": Sources(
        ("training/**/*.py", "training/**/*.yaml"),
        without=_AFTER_TRAINING,
        libraries=("ultralytics", "torch", "torchvision"),
        results=("layout",),
    ),
    "export": Sources(
        ("training/export.py", "training/export_worker.py", "training/footprint.py"),
        libraries=("ultralytics", "torch", "onnx", "onnxruntime", "onnxslim", "openvino", "nncf"),
        results=("training",),
    ),
    # From predictions to an evaluation. How a model predicts is its training's affair, which is named elsewhere.
    "evaluation": Sources(("metrics/*.py", "evaluation/*.py"), without=_NOT_JUDGING, libraries=("numpy",)),
    # From an evaluation to a decision.
    "verdict": Sources(("gates/*.py",), libraries=("numpy", "scipy"), results=("evaluation",)),
    "signature": Sources((*(f"{_AUDIT}/{name}.py" for name in ("signatures", "thumbnails", "features")), _WATCHING)),
    "audit": Sources(
        (f"{_AUDIT}/*.py", _WATCHING),
        without=frozenset(f"{_AUDIT}/{name}.py" for name in ("report", "filing", "refusal", "clears", "__init__")),
        results=("signature",),
    ),
}

LIBRARIES = ("ultralytics", "torch", "torchvision", "numpy", "opencv-python-headless", "mlflow", "pandas", "nightscope")
"""Whose versions are recorded with a training."""


@cache
def code_of(result: Result) -> str:
    """The digest of all that decides such a result: sources and library versions; 16 hex digits."""
    return code_below(ROOT, result)


def code_below(root: Path, result: Result) -> str:
    """`code_of`, of the sources below another folder `tasks/`."""
    deciding = DECIDING[result]
    sources = {name: meaning_of(root / name) for name in files_of(result, root)}
    behind = {each: code_below(root, each) for each in deciding.results}
    return digest(sources, library_versions(deciding.libraries), behind)[:16]


def files_of(result: Result, root: Path = ROOT) -> list[str]:
    """The files that decide such a result by themselves, relative to `tasks/`, sorted."""
    deciding = DECIDING[result]
    found = {path.relative_to(root).as_posix() for pattern in deciding.files for path in root.glob(pattern)}
    return sorted(found - deciding.without)


def code_version() -> str:
    """The version of what can change a training's result: '0.1.0+4f1c...'.

    Not the git commit: a commit that touches a report would train every line again in the next night.
    """
    return f"{library_versions().get('nightscope', '0')}+{code_of('training')}"


def meaning_of(path: Path) -> str:
    """Hex sha256 of what a source file means: .py by its syntax tree, .yaml by its values, others by their bytes."""
    return _meaning(path.suffix, path.read_bytes())


@lru_cache(maxsize=1024)  # a source counts for several results
def _meaning(suffix: str, data: bytes) -> str:
    if suffix == ".py":
        with _PARSING:
            return digest(ast.unparse(_Meaning().visit(ast.parse(data))))
    if suffix in {".yaml", ".yml"}:
        return digest(yaml.safe_load(data))
    return hashlib.sha256(data).hexdigest()


class _Meaning(ast.NodeTransformer):
    """Takes out of a syntax tree what people read and the program does not: see the module's docstring."""

    def visit_Expr(self, node: ast.Expr) -> ast.AST:
        # A string that stands alone does nothing: a docstring, or a field's. A body may consist of it alone.
        if isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            return ast.Pass()
        self.generic_visit(node)
        return node

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        if _is_log(node.func):
            node.args = [_Wordless().visit(each) for each in node.args]
        if isinstance(node.func, ast.Name) and node.func.id == "Field":
            node.keywords = [each for each in node.keywords if each.arg != "description"]
        return node

    def visit_Raise(self, node: ast.Raise) -> ast.AST:
        self.generic_visit(node)
        node.exc = node.exc and _Wordless().visit(node.exc)
        return node


class _Wordless(ast.NodeTransformer):
    """Blanks all text; what is computed for a message stays, since computing it may do something."""

    def visit_Constant(self, node: ast.Constant) -> ast.AST:
        return ast.Constant("") if isinstance(node.value, str) else node

    def visit_JoinedStr(self, node: ast.JoinedStr) -> ast.AST:
        computed = [self.visit(each) for each in node.values if isinstance(each, ast.FormattedValue)]
        return ast.Tuple(elts=[each.value for each in computed], ctx=ast.Load())


def _is_log(function: ast.expr) -> bool:
    """`log.info(...)`, `logging.warning(...)`, `warnings.warn(...)`, `print(...)`."""
    if isinstance(function, ast.Attribute) and isinstance(function.value, ast.Name):
        return function.value.id in {"log", "logger", "logging", "warnings"}
    return isinstance(function, ast.Name) and function.id == "print"


@cache
def library_versions(names: tuple[str, ...] = LIBRARIES) -> dict[str, str]:
    """Installed versions of libraries, by default of those that a training rests on; what is not there is left out."""
    found = {}
    for name in names:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


@cache
def git_commit() -> str | None:
    """The checkout's commit; None outside a checkout. For the record: people look for it, nothing rests on it."""
    try:
        return _git("rev-parse", "HEAD")
    except (OSError, subprocess.SubprocessError):
        return None


@cache
def git_dirty() -> bool | None:
    """Whether tracked files differ from the commit; None outside a checkout."""
    try:
        return bool(_git("status", "--porcelain", "--untracked-files=no"))
    except (OSError, subprocess.SubprocessError):
        return None


@cache
def lock_sha256() -> str | None:
    """The hash of uv.lock, which pins every library; None where the package is installed without it."""
    path = HOME / "uv.lock"
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None


def _git(*arguments: str) -> str:
    command = ["git", "-C", str(ROOT), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()
