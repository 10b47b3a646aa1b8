"""What a label says of a picture.

In a line of one class a picture: exactly one object, `{"label": <class>}`.

In a multi-label line: one object for each class that somebody judged, `{"label": <class>, "present": <bool>}`. A class
without an object is a missing value: it is neither learned from nor measured.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from tasks.errors import DataError
from tasks.kind import Object

if TYPE_CHECKING:
    from numpy.typing import NDArray


def is_present(item: Object) -> bool:
    """Whether an object says that the picture shows its class."""
    return bool(item.get("present", True))


def targets_of(objects: Sequence[Object], classes: Sequence[str]) -> NDArray[np.float64]:
    """One picture's labels as numbers.

    Args:
        objects: As above.
        classes: Order of the numbers.

    Returns:
        [classes]: 1 where the class is there, 0 where it is not, NaN where nobody said.

    Raises:
        DataError: A class that is not among `classes`.
    """
    if foreign := {each["label"] for each in objects} - set(classes):
        raise DataError(f"label {sorted(foreign)[0]!r}: is no class of this dataset", expected=", ".join(classes))
    stated = {each["label"]: float(is_present(each)) for each in objects}
    one_class = any("present" not in each for each in objects)
    return np.array([stated.get(name, 0.0 if one_class else np.nan) for name in classes])
