"""What people say about a recording: a small JSON object beside it in the landing bucket."""

from __future__ import annotations

import json
from typing import Annotated, TypeVar

from pydantic import BeforeValidator, Field, ValidationError

from tasks.errors import UnreadableRecording
from tasks.escaping import visible_name
from tasks.schemas import Frozen, Split, canonical_json

SUFFIX = ".nightscope.json"
BATCH_SUFFIX = ".stills.zip"
_MAX_BYTES, _MAX_BATCH_BYTES = 2**16, 2**25
_SHOWN_FAULTS = 8


def _stripped(value: object) -> object:
    """Surrounding white space is no part of a name, nothing but it is no name, and no name has control characters."""
    if isinstance(value, str) and visible_name(value.strip()) != value.strip():
        raise ValueError("has control or invisible characters")
    return (value.strip() or None) if isinstance(value, str) else value


Label = Annotated[Annotated[str, Field(max_length=200)] | None, BeforeValidator(_stripped)]


S = TypeVar("S", bound="Sidecar")


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


class StillLabels(Frozen):
    """What people say about one picture of a batch of stills."""

    study: Label = None
    donor: Label = None
    um_per_px: float | None = Field(default=None, ge=1e-6, le=1e6, allow_inf_nan=False)
    split: Split | None = None
    oid: str | None = Field(default=None, description="sha256 of the picture's file, by which `add` knows it again.")


class BatchSidecar(Sidecar):
    """The metadata of a batch of stills: of each picture, by its name in the batch; of the others, the batch's own."""

    pictures: dict[str, StillLabels] = Field(default_factory=dict)

    def of(self, member: str) -> StillLabels:
        """What is said about a picture."""
        own = self.pictures.get(member)
        if own is not None:
            return own
        return StillLabels(study=self.study, donor=self.donor, um_per_px=self.um_per_px, split=self.split)

    def as_bytes(self) -> bytes:
        """The same metadata is the same bytes; what is not said is left out."""
        return canonical_json(self.model_dump(mode="json", exclude_none=True)).encode()


def kind_of(recording_key: str) -> type[Sidecar]:
    """What a landing object's sidecar is."""
    return BatchSidecar if recording_key.lower().endswith(BATCH_SUFFIX) else Sidecar


def key_of(recording_key: str) -> str:
    """Where a recording's sidecar is."""
    return recording_key + SUFFIX


def check_size(size_bytes: int, kind: type[Sidecar] = Sidecar) -> None:
    """Refuse what is too large to be a sidecar of this kind.

    Raises:
        UnreadableRecording: Saying so.
    """
    if size_bytes > (_MAX_BATCH_BYTES if issubclass(kind, BatchSidecar) else _MAX_BYTES):
        raise UnreadableRecording(f"its sidecar ({SUFFIX}) is {size_bytes} bytes long", expected="a small JSON object")


def parse(data: bytes, kind: type[S] = Sidecar) -> S:  # type: ignore[assignment]
    """Read a sidecar of a kind: JSON as UTF-8 or UTF-16, with or without a byte-order mark.

    Raises:
        UnreadableRecording: Naming every fault: a recording whose donor or pixel size is unclear must not be used.
    """
    check_size(len(data), kind)
    try:
        # Byte-order marks and UTF-16, as Windows' editors write them, are no content.
        return kind.model_validate_json(data.decode(json.detect_encoding(data)))
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
