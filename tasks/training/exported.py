"""A model exported for another runtime, whatever its kind: the files, and the record of how they were checked."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from tasks.kind.exports import Precision
from tasks.provenance import code_of, code_version
from tasks.schemas import Frozen, Oid


class Calibration(Frozen):
    """What int8 took its ranges from."""

    split: Literal["train"] = "train"
    images: int
    frames: tuple[Oid, ...] = Field(description="The images' blobs, in the order they were shown.")


class Export(Frozen):
    """The file, or files, of an export."""

    format: str
    int8: bool
    fp16: bool = False
    files: dict[str, Oid] = Field(description="By the names that the runtime wants.")
    size_bytes: int
    shape: str = Field(description="Of the input.")
    opset: int | None = Field(default=None, description="ONNX only.")
    libraries: dict[str, str]
    calibration: Calibration | None = None

    @property
    def label(self) -> str:
        """What it is called in paths and tags: 'openvino-int8'."""
        return label(self.format, self.precision)

    @property
    def precision(self) -> Precision:
        """Of its weights."""
        return "int8" if self.int8 else "fp16" if self.fp16 else "fp32"

    @property
    def weights_oid(self) -> Oid:
        """The file that holds the weights: of several the .bin or .pdiparams, else the first by name."""
        return self.files.get("model.bin") or self.files.get("model.pdiparams") or min(self.files.items())[1]


class ExportRecord(Frozen):
    """An export that was checked against its original and found the same, or near enough: a JSON blob of the lake."""

    line: str
    kind: str
    model_version: str
    weights_oid: Oid
    dataset_version: str = Field(description="On whose test split it was checked.")
    classes: tuple[str, ...]
    imgsz: int
    predict: dict[str, Any]
    export: Export
    tolerance: dict[str, float]
    checks: dict[str, Any]
    benchmark: dict[str, Any]
    evaluation_oid: Oid = Field(description="The export as challenger, the original as champion.")
    code_version: str
    hardware: str


def label(fmt: str, precision: Precision) -> str:
    """What an export is called in paths and tags: 'openvino-int8'."""
    return fmt if precision == "fp32" else f"{fmt}-{precision}"


def export_version(kind: str) -> str:
    """Of all code that decides what the bytes of an export of a kind's model are."""
    return f"{code_version(kind)}+{code_of('export', kind)}"
