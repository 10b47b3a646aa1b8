"""Which colour shows which channel of a picture that has several."""

from __future__ import annotations

from collections.abc import Mapping

COLOURS = {"nucleus": 2, "nuclei": 2, "dna": 2, "membrane": 1, "cytoplasm": 1, "cell": 1}
"""0 red, 1 green, 2 blue, as microscopists colour them; what else there is gets the first one left."""
MOST = 3


def colours_of(channels: Mapping[str, int]) -> dict[str, int]:
    """The colour (0 red, 1 green, 2 blue) of each named channel, no two the same.

    Args:
        channels: Names -> places; only the names count here.

    Raises:
        ValueError: There are more channels than colours.
    """
    if len(channels) > MOST:
        raise ValueError(f"expected {MOST} channels at most, one for each colour; found {', '.join(channels)}")
    out: dict[str, int] = {}
    for name in sorted(channels, key=lambda name: (name.lower() not in COLOURS, name)):  # in whatever order they came
        wanted = COLOURS.get(name.lower(), 0)
        out[name] = next(colour for colour in (wanted, *range(MOST)) if colour not in out.values())
    return out
