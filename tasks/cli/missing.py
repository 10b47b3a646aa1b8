"""What to install when a command needs a library of an extra that is not there."""

from __future__ import annotations

import re
from importlib.metadata import PackageNotFoundError, requires

from tasks.errors import ConfigError

PACKAGE = "nightscope"
DISTRIBUTIONS = {
    "PIL": "scikit-image",  # brings Pillow
    "airflow": "apache-airflow",
    "cv2": "opencv-python-headless",
    "markupsafe": "jinja2",
    "packaging": "great-expectations",
    "psycopg2": "psycopg2-binary",
    "requests": "mlflow",
    "safetensors": "timm",
    "skimage": "scikit-image",
    "sklearn": "scikit-learn",
    "sqlalchemy": "pyiceberg",  # the extras of its SQL catalogs
    "starlette": "fastapi",
}
"""Module → distribution of an extra that has it, where the names differ, or another distribution brings it along."""
_EXTRA = re.compile(r"""extra == ['"]([a-z-]+)['"]""")
_NAME = re.compile(r"[A-Za-z0-9._-]+")


def extras_with(module: str) -> list[str]:
    """The extras that install a module by themselves, smallest first; none where it is of none."""
    wanted = _normal(DISTRIBUTIONS.get(module.partition(".")[0], module.partition(".")[0]))
    sizes: dict[str, int] = {}
    found = []
    for requirement in _requirements():
        name, extra = _NAME.match(requirement), _EXTRA.search(requirement)
        if name is None or extra is None:
            continue
        sizes[extra[1]] = sizes.get(extra[1], 0) + 1
        if _normal(name[0]) == wanted:
            found.append(extra[1])
    return sorted(set(found), key=lambda extra: (sizes[extra], extra))


def missing_extra(error: ModuleNotFoundError) -> ConfigError | None:
    """The error in our words; None where no extra has the module: then it is a fault of ours."""
    extras = extras_with(error.name or "")
    if not extras:
        return None
    first = extras[0]
    return ConfigError(
        f"this needs {(error.name or '').partition('.')[0]}, which the extra {first!r} of this package installs",
        found="an installation without it",
        fix=f"install {PACKAGE}[{first}] in the place of {PACKAGE}, as in: uv tool install '{PACKAGE}[{first}]'; "
        f"{PACKAGE}[all] has everything",
    )


def _requirements() -> list[str]:
    try:
        return requires(PACKAGE) or []
    except PackageNotFoundError:  # run from a checkout without being installed
        return []


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
