"""What pydantic finds wrong, in a sentence."""

from __future__ import annotations

from pydantic import (
    ValidationError,
)


def in_words(error: ValidationError) -> str:
    return "; ".join(
        f"{'.'.join(str(part) for part in fault['loc']) or 'file'}: {fault['msg'].removeprefix('Value error, ')}"
        for fault in error.errors()
    )
