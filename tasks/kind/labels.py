"""Labels as annotators give them: the control in Label Studio, and its regions ⇄ objects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from tasks.kind.objects import Object, Region

if TYPE_CHECKING:
    pass


@dataclass(frozen=True)
class Control:
    """The control of Label Studio whose labels are the line's classes.

    Attributes:
        tag: Of the control, e.g. 'RectangleLabels'.
        entry: Tag of one class in it: 'Label' or 'Choice'.
        attributes: Of the control, beside its name.
        fixed: Those of `attributes` that must be so, or answers mean something else: they are set again where a lab
            changed them, or where the line did.
        answers: Entries behind those of the classes, which answer for a class or for none: value -> attributes.
        title: Stands above it, where a line has several and annotators must choose one.
    """

    tag: str
    entry: str
    attributes: Mapping[str, str]
    fixed: frozenset[str] = frozenset()
    answers: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    title: str = ""

    @property
    def region_type(self) -> str:
        """The `type` of the regions that are drawn with it."""
        return self.tag.lower()


class UnfitRegion(Exception):
    """A region that cannot be an object of the line; the text says why, after the words 'a region'."""


class Labels(Protocol):
    """Label Studio's regions ⇄ objects.

    Three functions a kind may have beside these, where it depends on the line: `control(line)`, which then replaces
    `CONTROL`; `complete(objects, line)`, what an annotation says as a whole, of the objects of all its regions (it may
    raise `UnfitRegion`); and `spell_out(objects, line)`, its reverse, before `write_objects`.

    `FURTHER_CONTROLS`, optional: other controls that the same classes may be drawn with, each of a tag of its own.
    Hotkeys of classes choose a label of `CONTROL`.
    """

    CONTROL: Control

    def read_region(self, region: Region, width_px: int, height_px: int) -> list[Object]:
        """The objects of one region of our control, drawn on a frame of that size. `tasks.labeling.convert` helps.

        Raises:
            UnfitRegion: It cannot be read; its annotation is then set aside whole.
        """
        ...

    def write_objects(self, objects: Sequence[Object], width_px: int, height_px: int) -> list[Region]:
        """Objects of one frame as regions: `type` and `value` (and `meta`); names and ids are added by the caller."""
        ...
