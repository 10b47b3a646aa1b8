"""What people say about a recording: a small JSON object beside it in the landing bucket."""

from __future__ import annotations

import json
from typing import Annotated

from pydantic import BeforeValidator, Field, ValidationError

from tasks.errors import UnreadableRecording
from tasks.schemas import Frozen, Split, canonical_json

SUFFIX = ".nightscope.json"
_MAX_BYTES = 2**16


def _stripped(value: object) -> object:
    """Surrounding white space is no part of a name, and nothing but it is no name."""
    return (value.strip() or None) if isinstance(value, str) else value


Label = Annotated[Annotated[str, Field(max_length=200)] | None, BeforeValidator(_stripped)]


class Sidecar(Frozen):
    """A recording's metadata, as `nightscope add` writes it or a lab's own software may."""

    study: Label = None
    donor: Label = None
    um_per_px: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    split: Split | None = None
    fps_hz: float | None = Field(default=None, gt=0, allow_inf_nan=False, description="Of stacks")
    name: Label = None

    def as_bytes(self) -> bytes:
        """The same metadata is the same bytes."""
        return canonical_json(self.model_dump(mode="json")).encode()


def key_of(recording_key: str) -> str:
    """Where a recording's sidecar is."""
    return recording_key + SUFFIX


def check_size(size_bytes: int) -> None:
    """Refuse what is too large to be a sidecar.

    Raises:
        UnreadableRecording: Saying so.
    """
    if size_bytes > _MAX_BYTES:
        raise UnreadableRecording(f"its sidecar ({SUFFIX}) is {size_bytes} bytes long", expected="a small JSON object")


def parse(data: bytes) -> Sidecar:
    """Read a sidecar.

    Raises:
        UnreadableRecording: Naming every fault: a recording whose donor or pixel size is unclear must not be used.
    """
    check_size(len(data))
    try:
        # Byte-order marks and UTF-16, as Windows' editors write them, are no content.
        return Sidecar.model_validate_json(data.decode(json.detect_encoding(data)))
    except UnicodeDecodeError as error:
        raise UnreadableRecording(
            f"its sidecar ({SUFFIX}) is not text in UTF-8 or UTF-16",
            expected=f"a JSON object with {', '.join(Sidecar.model_fields)}",
            fix="correct the sidecar and put the recording again",
        ) from error
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, fault['loc'])) or 'file'}: {fault['msg']}" for fault in error.errors())
        raise UnreadableRecording(
            f"its sidecar ({SUFFIX}) is wrong: {faults}",
            expected=f"a JSON object with {', '.join(Sidecar.model_fields)}",
            fix="correct the sidecar and put the recording again",
        ) from error
