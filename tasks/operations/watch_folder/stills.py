"""Watching a folder whose pictures are samples of their own: those that are finished land in batches."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tasks.ingest.formats import STILL_SUFFIXES
from tasks.ingest.landing import Accepted, AddReport, Found, Refused
from tasks.ingest.names import split_suffix
from tasks.ingest.sidecar import Sidecar
from tasks.ingest.stills.masks import masks_among
from tasks.operations.stills import add_stills
from tasks.session import Session


@dataclass(frozen=True)
class Grouping:
    """How stills are added: by which rule they belong together (`nightscope add --group-by`); None: none."""

    rule: str | None = None


def among(where: Path, names: Sequence[str]) -> list[Found]:
    """The pictures among the files of one folder; others are passed over, as `nightscope add --stills` does."""
    return [Found(where / name) for name in sorted(names) if split_suffix(name)[1].lower() in STILL_SUFFIXES]


def add_pictures(
    session: Session, folder: Path, pictures: Sequence[Path], said: Sidecar, grouping: Grouping, *, pseudonyms: bool
) -> AddReport:
    """Put some of a folder's pictures into the landing bucket, and report each by its path.

    They are shown to `add_stills` in a folder of links, of the same name and with the same folders in it, so that
    groups by folder or name are those of the whole folder. Tables that name groups (`csv:`) lie in the folder itself.
    """
    every = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if among(folder, [path.name])]
    masks = {folder / name for name in masks_among(every)}
    refused = [Refused(path=str(path), reason="is a mask, by its name") for path in pictures if path in masks]
    if not (samples := [path for path in pictures if path not in masks]):
        return AddReport(refused=tuple(refused))
    work = session.settings.work_dir
    work.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=work, prefix="watch-") as scratch:
        shown = Path(scratch) / folder.name
        for path in (*samples, *folder.glob("*.csv")):
            link = shown / path.relative_to(folder)
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(path)
        report = add_stills(
            session, [str(shown)], group_by=grouping.rule, study=said.study, donor=said.donor,
            um_per_px=said.um_per_px, split=said.split, pseudonyms=pseudonyms,
        )  # fmt: skip
    accepted = [Accepted(path=_original(each.path, shown, folder), key=each.key) for each in report.accepted]
    refused += [Refused(path=_original(each.path, shown, folder), reason=each.reason) for each in report.refused]
    return AddReport(accepted=tuple(accepted), refused=tuple(refused))


def _original(path: str, shown: Path, folder: Path) -> str:
    return f"{folder}{path.removeprefix(str(shown))}"
