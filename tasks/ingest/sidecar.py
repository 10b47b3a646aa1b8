"""What people say about a recording: a small JSON object beside it in the landing bucket."""

from __future__ import annotations

import json
from typing import Annotated

from pydantic import BeforeValidator, Field, ValidationError

from tasks.errors import UnreadableRecording
from tasks.escaping import visible_name
from tasks.schemas import Frozen, Split, canonical_json

SUFFIX = ".nightscope.json"
_MAX_BYTES = 2**16
_SHOWN_FAULTS = 8


def _stripped(value: object) -> object:
    """Surrounding white space is no part of a name, nothing but it is no name, and no name has control characters."""
    if isinstance(value, str) and visible_name(value.strip()) != value.strip():
        raise ValueError("has control or invisible characters")
    return (value.strip() or None) if isinstance(value, str) else value


Label = Annotated[Annotated[str, Field(max_length=200)] | None, BeforeValidator(_stripped)]


class Sidecar(Frozen):
    """A recording's metadata, as `nightscope add` writes it or a lab's own software may."""

    study: Label = None
    donor: Label = None
    um_per_px: float | None = Field(default=None, ge=1e-6, le=1e6, allow_inf_nan=False)
    split: Split | None = None
    fps_hz: float | None = Field(default=None, ge=1e-6, le=1e9, allow_inf_nan=False, description="Of stacks")
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
    """Read a sidecar: JSON as UTF-8 or UTF-16, with or without a byte-order mark.

    Raises:
        UnreadableRecording: Naming every fault: a recording whose donor or pixel size is unclear must not be used.
    """
    check_size(len(data))
    try:
        # Byte-order marks and UTF-16, as Windows' editors write them, are no content.
        return Sidecar.model_validate_json(data.decode(json.detect_encoding(data)))
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False)
        faults = [
            f"{visible_name('.'.join(map(str, fault['loc'])))[:100] or 'file'}: {fault['msg'][:200]}" for fault in found
        ]
        more = f" and {len(faults) - _SHOWN_FAULTS} more" if len(faults) > _SHOWN_FAULTS else ""
        raise _wrong("; ".join(faults[:_SHOWN_FAULTS]) + more) from error
    except (UnicodeDecodeError, RecursionError) as error:
        raise _wrong(f"file: {error}") from error


def _wrong(faults: str) -> UnreadableRecording:
    return UnreadableRecording(
        f"its sidecar ({SUFFIX}) is wrong: {faults}",
        expected=f"a JSON object with {', '.join(Sidecar.model_fields)}",
        fix="correct the sidecar and put the recording again",
    )
