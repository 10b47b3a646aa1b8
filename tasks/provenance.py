"""Which code a result rests on: one digest for each kind of result, over what its sources mean.

A result that the lake keeps (a training, an evaluation, a verdict, an audit, an export) is found again only while the
digest of the code that makes it is the same. The digest must change when the code could make another result, and must
not when somebody mends a comment: each of them trained every line again in the next night. So a Python source counts by
its syntax tree, without comments, docstrings, layout, and the texts of log messages, of errors and of field
descriptions; a YAML source counts by its values. See `DECIDING` for what each result rests on; most rest on the
kind of the line, too, and then on no other kind.
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
from tasks.known_kinds import place_of
from tasks.schemas import digest

ROOT = Path(__file__).parent
_PARSING = Lock()
"""CPython 3.11 counts the depth of a syntax tree for all threads together, and fails where two of them parse."""

Result = Literal["validation", "training", "layout", "export", "evaluation", "verdict", "signature", "audit"]


@dataclass(frozen=True)
class Sources:
    """What one sort of result rests on.

    Attributes:
        files: Patterns below `tasks/`.
        kind: Patterns below the folder of the line's kind; empty: such a result is the same for every kind.
        without: Of all these, files that only see or show a finished result; for the kind's, patterns below its folder.
        libraries: Distributions whose version counts, beside those that the kind names in `LIBRARIES`.
        results: Results that this one is made from: their code is its code, too.
        follow: Which of the modules that these files import count, too: those of `tasks.metrics`, or all of these and
            of the kind.
    """

    files: tuple[str, ...] = ()
    kind: tuple[str, ...] = ()
    without: frozenset[str] = frozenset()
    libraries: tuple[str, ...] = ()
    results: tuple[Result, ...] = ()
    follow: Literal["none", "metrics", "all"] = "none"


_SHOWING = ("report", "content", "gallery", "saliency", "plots", "tables", "artifacts", "unlearned")
_ONLY_SHOWN = frozenset(f"evaluation/{name}.py" for name in _SHOWING)
# In a kind's room these names mean the same for every kind (see `tasks.kind`). What is not listed is taken to train,
# unless only listed files import it.
_LABELLING = ("labels.py", "files.py", "formats/*.py", "checks.py")
_JUDGING = ("metrics.py", "drawing.py")
_LOOKING = ("saliency.py",)
_EXPORTING = ("exports.py", "export_*.py", "footprint.py")
_ASKED_FOR = ("train.py", "recipe.py", "predictor.py", "served.py")  # by the steps, whoever else imports them
_SAYING = ("answers.py", "diagnosis.py", "exploration.py", "filling.py")  # of a finished model, or of data alone
_SCRIPTS = ("python/*.py",)  # entry points for scripts, whose results no lake keeps
# Only tell of a training that goes on; none of it changes what comes out.
_WATCHING_TRAININGS = ("training/health.py", "training/meter.py", "training/event_files.py")
_AUDIT = "leakage"
_BESIDE_AUDIT = ("report", "filing", "refusal", "clears", "copies", "__init__")
# Makes the small pictures that the whole audit compares.
_WATCHING = "ingest/watching.py"

DECIDING: dict[Result, Sources] = {
    # Whether an annotation passes, as long as it and its frame stay what they are.
    "validation": Sources(
        tuple(f"validation/{name}.py" for name in ("inputs", "judging", "passed", "suites", "tables")),
        kind=("checks.py",),
        libraries=("great-expectations", "numpy", "pandas"),
        follow="all",
    ),
    # What writes a dataset version's images and label files to disk for a trainer.
    "layout": Sources(("datasets/on_disk.py",), kind=("layout.py",), follow="all"),
    # How a finished model predicts lies in the same room, and so counts, too.
    "training": Sources(
        ("training/**/*.py",),
        kind=("**/*.py", "**/*.yaml"),
        without=frozenset(
            {
                *_LABELLING,
                *_JUDGING,
                *_LOOKING,
                *_EXPORTING,
                *_SAYING,
                *_SCRIPTS,
                "comparison.py",
                "layout.py",
                "training/trial_values.py",
                "training/weights.py",
                *_WATCHING_TRAININGS,
            }
        ),
        results=("layout",),
        follow="metrics",  # such as a temperature, which is fitted at the end and stands in the file of weights
    ),
    "export": Sources(kind=_EXPORTING, results=("training",)),
    # From predictions to an evaluation. How a model predicts is its training's affair, which is named elsewhere.
    # Experiments keep their results by this digest, and so their metrics belong to it.
    "evaluation": Sources(
        ("evaluation/*.py", "kind/images.py", "metrics/split_bias.py", "metrics/crossvalidation.py"),
        kind=_JUDGING,
        without=_ONLY_SHOWN,
        libraries=("numpy",),
        follow="all",
    ),
    # From an evaluation to a decision.
    "verdict": Sources(("gates/*.py",), libraries=("numpy", "scipy"), results=("evaluation",), follow="all"),
    "signature": Sources((*(f"{_AUDIT}/{name}.py" for name in ("signatures", "thumbnails", "features")), _WATCHING)),
    "audit": Sources(
        (f"{_AUDIT}/*.py", _WATCHING),
        without=frozenset(f"{_AUDIT}/{name}.py" for name in _BESIDE_AUDIT),
        results=("signature",),
    ),
}

LIBRARIES = (
    "ultralytics", "timm", "scikit-learn", "torch", "torchvision", "numpy", "opencv-python-headless", "mlflow",
    "pandas", "nightscope",
)  # fmt: skip
"""Whose versions are recorded with a training."""


@cache
def code_of(result: Result, kind: str | None = None) -> str:
    """The digest of all that decides such a result for lines of a kind: sources and library versions; 16 hex digits.

    Args:
        result: What is made.
        kind: Of the line. None only for results that know no kind (`signature`, `audit`).
    """
    return code_below(ROOT, result, kind)


def code_below(root: Path, result: Result, kind: str | None = None) -> str:
    """`code_of`, of the sources below another folder `tasks/`."""
    deciding = DECIDING[result]
    sources = {name: meaning_of(path) for name, path in files_of(result, kind, root).items()}
    behind = {each: code_below(root, each, kind) for each in deciding.results}
    libraries = (*deciding.libraries, *(_libraries_of(root, kind).get(result, ()) if kind else ()))
    return digest(sources, library_versions(libraries), behind)[:16]


def files_of(result: Result, kind: str | None = None, root: Path = ROOT) -> dict[str, Path]:
    """The files that decide such a result by themselves: name below `tasks/`, or '<kind>:' and below its room -> path.

    Raises:
        ConfigError: There is no such kind.
    """
    deciding = DECIDING[result]
    if deciding.kind and kind is None:
        raise ValueError(f"what decides a result {result!r} depends on the kind of the line")
    found = {path.relative_to(root).as_posix(): path for pattern in deciding.files for path in root.glob(pattern)}
    found = {name: path for name, path in found.items() if name not in deciding.without}
    if kind and deciding.kind:
        room = _room(root, kind)
        left_out = {path for pattern in deciding.without for path in room.glob(pattern)}
        own = {path for pattern in deciding.kind for path in room.glob(pattern)} - left_out
        own -= _helpers_alone(left_out, own, root, kind)
        found |= {f"{kind}:{path.relative_to(room).as_posix()}": path for path in own}
    if deciding.follow != "none":
        sources = [path for path in found.values() if path.suffix == ".py"]
        found |= _followed(sources, root, kind if deciding.follow == "all" else None)
    return dict(sorted(found.items()))


def _room(root: Path, kind: str) -> Path:
    """The folder of a kind: one that ships stands below `root`."""
    shipped = root / "kinds" / kind
    return shipped if shipped.is_dir() else place_of(kind).folder


def _helpers_alone(left_out: set[Path], own: set[Path], root: Path, kind: str) -> set[Path]:
    """Those of a room's files that only files which are left out import, such as the finder of contradicting labels."""
    sources = [path for path in left_out if path.suffix == ".py"]
    helpers = {path for path in own & set(_followed(sources, root, kind).values()) if path.name not in _ASKED_FOR}
    deciding = [path for path in own - helpers if path.suffix == ".py"]
    return helpers - set(_followed(deciding, root, kind).values())


def _followed(paths: list[Path], root: Path, kind: str | None) -> dict[str, Path]:
    """The modules of `tasks.metrics`, and of the kind, that some files import, and those that these import, and so on.

    So that metrics of one kind are no part of what another kind's numbers rest on.
    """
    rooms = {"tasks.metrics": ("metrics/", root / "metrics")}
    if kind:
        room = _room(root, kind)
        package = f"tasks.kinds.{kind}" if room.is_relative_to(root) else place_of(kind).package
        rooms[package] = (f"{kind}:", room)
    found: dict[str, Path] = {}
    waiting = list(paths)
    while waiting:
        for module in _imports(waiting.pop()):
            package, _, name = module.rpartition(".")
            if package in rooms and (path := rooms[package][1] / f"{name}.py").is_file():
                called = f"{rooms[package][0]}{name}.py"
                if called not in found:
                    found[called] = path
                    waiting.append(path)
    return found


def _imports(path: Path) -> frozenset[str]:
    """Full names of what a source imports: modules, and what may be a module of a package."""
    return _imported(path.read_bytes())


@lru_cache(maxsize=1024)  # a source is followed from many others, for several results
def _imported(data: bytes) -> frozenset[str]:
    with _PARSING:
        parsed = ast.parse(data)
    names: set[str] = set()
    for node in ast.walk(parsed):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return frozenset(names)


def _libraries_of(root: Path, kind: str) -> dict[str, tuple[str, ...]]:
    """What a kind's `__init__.py` says of libraries: result -> distributions. Read, not imported."""
    with _PARSING:
        parsed = ast.parse((_room(root, kind) / "__init__.py").read_bytes())
    for node in parsed.body:
        if isinstance(node, ast.Assign) and any(
            isinstance(to, ast.Name) and to.id == "LIBRARIES" for to in node.targets
        ):
            return {result: tuple(names) for result, names in ast.literal_eval(node.value).items()}
    return {}


def code_version(kind: str) -> str:
    """The version of what can change a training's result: '0.1.0+4f1c...'.

    Not the git commit: a commit that touches a report would train every line again in the next night. And a change in
    one kind's room trains only that kind's lines again.
    """
    return f"{library_versions().get('nightscope', '0')}+{code_of('training', kind)}"


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
