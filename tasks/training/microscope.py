"""What happens to pictures under a microscope, as a recipe says it: a word, or how often each happens.

    microscope: medium
    microscope: {rotate: 0.5, elastic: 0.1, noise: 0.3, strength: 1.5}

Each number but `strength` is how often a picture gets it; `microscope_transforms.py` does it. Imports nothing heavy.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tasks.escaping import short_repr
from tasks.training.values import number

STRENGTH = "strength"
MOST_STRENGTH = 3.0

EFFECTS: Mapping[str, str] = {
    "rotate": "turned by any angle; what the picture does not reach is grey",
    "optics": "the objective's distortion, barrel or pincushion",
    "grid": "stretched and squeezed field by field, as where pictures are stitched",
    "elastic": "bent softly, as flexible things are",
    "brightness": "brightness and contrast of the lamp",
    "hue": "hue and saturation of a stain",
    "clahe": "contrast equalised field by field (CLAHE)",
    "noise": "Gaussian noise",
    "iso_noise": "noise of a camera at high gain, of colour and of brightness",
    "blur": "a little out of focus",
}
"""What may happen to a picture, in this order."""

MICROSCOPE: Mapping[str, Mapping[str, float]] = {
    # What a second look through the same microscope differs in.
    "light": {"brightness": 0.3, "hue": 0.1, "noise": 0.2, "blur": 0.1, STRENGTH: 0.5},
    # Another day, another lamp, the slide the other way round.
    "medium": {
        "rotate": 0.5, "optics": 0.1, "brightness": 0.3, "hue": 0.2, "clahe": 0.1, "noise": 0.2, "iso_noise": 0.1,
        "blur": 0.1, STRENGTH: 1.0,
    },
    # Another microscope.
    "heavy": {
        "rotate": 0.8, "optics": 0.2, "grid": 0.2, "elastic": 0.2, "brightness": 0.5, "hue": 0.3, "clahe": 0.2,
        "noise": 0.3, "iso_noise": 0.2, "blur": 0.2, STRENGTH: 1.5,
    },
}  # fmt: skip
NONE = "none"

Microscope = dict[str, float]


def microscope(value: Any) -> Microscope | None:
    """How often each thing happens to a picture, what never happens left out; None: nothing does.

    Raises:
        ValueError: Saying all that is wrong, and what would have been right.
    """
    if value is None or (isinstance(value, str) and value.casefold() == NONE):
        return None
    if isinstance(value, str) and value.casefold() in MICROSCOPE:
        return dict(MICROSCOPE[value.casefold()])
    if not isinstance(value, Mapping):
        wanted = f"{', '.join((NONE, *MICROSCOPE))}, or how often each happens, such as {{rotate: 0.5}}"
        raise ValueError(f"expected {wanted}, found {short_repr(value)}")
    found, faults = {}, []
    for name, often in value.items():
        if name != STRENGTH and name not in EFFECTS:
            faults.append(f"{short_repr(name)}: expected one of {', '.join((*EFFECTS, STRENGTH))}")
            continue
        try:
            found[str(name)] = float(number(often, *((0.1, MOST_STRENGTH) if name == STRENGTH else (0, 1))))
        except ValueError as error:
            faults.append(f"{name}: {error}")
    if not faults and not any(found.get(name) for name in EFFECTS):
        faults.append(f"expected something that happens, or {NONE}, found {short_repr(value)}")
    if faults:
        raise ValueError("; ".join(faults))
    return {name: found.get(name, 1.0) for name in (*EFFECTS, STRENGTH) if name == STRENGTH or found.get(name)}
