"""A gate: one condition that a challenger must pass."""

from __future__ import annotations

import re
from typing import Literal, Self

from pydantic import (
    ConfigDict,
    Field,
    model_validator,
)

from tasks.schemas import Frozen

Condition = Literal["at_least", "at_most", "not_worse_by", "better_by"]

CONDITIONS: tuple[Condition, ...] = ("at_least", "at_most", "not_worse_by", "better_by")


class Gate(Frozen):
    """One condition a challenger must meet: exactly one of `CONDITIONS`, on a metric overall or in slices.

    `class: sperm` is short for `slice: class.sperm`; `for_each: [class, size]` asks for every slice of these families.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    metric: str
    class_: str | None = Field(default=None, alias="class")
    slice_: str | None = Field(default=None, alias="slice", description="'<family>.<name>', e.g. 'size.small'.")
    for_each: tuple[str, ...] = Field(default=(), description="Families ('class') or single slices ('size.small').")
    at_least: float | None = Field(default=None, allow_inf_nan=False)
    at_most: float | None = Field(default=None, allow_inf_nan=False)
    not_worse_by: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    better_by: float | None = Field(
        default=None, ge=0, allow_inf_nan=False, description="Superiority: better by more than this."
    )
    confidence: float = Field(default=0.95, gt=0.5, lt=1)
    device: str | None = Field(default=None, description="For latency and size: the device it must hold on.")

    @model_validator(mode="after")
    def _one_condition(self) -> Self:
        if sum(getattr(self, name) is not None for name in CONDITIONS) != 1:
            raise ValueError(f"gate on {self.metric}: needs exactly one of {', '.join(CONDITIONS)}")
        if sum(map(bool, (self.class_, self.slice_, self.for_each))) > 1:
            raise ValueError(f"gate on {self.metric}: only one of class, slice, for_each")
        return self

    def about_labels(self) -> Gate:
        """The same gate of a multi-label line, where each class is a label: 'class' and 'class.x' mean 'label.x'."""
        each = tuple(re.sub(r"^class(?=\.|$)", "label", asked) for asked in self.for_each)
        place = f"label.{self.class_}" if self.class_ else self.slice_ and re.sub(r"^class\.", "label.", self.slice_)
        return self.model_copy(update={"class_": None, "slice_": place, "for_each": each})

    @property
    def condition(self) -> Condition:
        """The condition's name."""
        return next(name for name in CONDITIONS if getattr(self, name) is not None)

    @property
    def threshold(self) -> float:
        """The condition's number."""
        return float(getattr(self, self.condition))

    @property
    def compares(self) -> bool:
        """Whether it compares with the champion, and so says nothing while there is none."""
        return self.condition in ("not_worse_by", "better_by")

    @property
    def where(self) -> str | None:
        """Its one slice, e.g. 'class.sperm'; None: overall, or `for_each`."""
        return f"class.{self.class_}" if self.class_ else self.slice_

    @property
    def id(self) -> str:
        """A name for reports and changes, e.g. 'AP50.sperm.at_least', 'AP50_95.each-class-size.not_worse_by'."""
        each = f"each-{'-'.join(self.for_each)}" if self.for_each else None
        return ".".join(part for part in (self.metric, self.class_ or self.slice_ or each, self.condition) if part)
