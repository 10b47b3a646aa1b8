"""Watching a folder: what is finished lands; what cannot land now, lands later; what never can, is named once."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from filelock import FileLock, Timeout

from tasks.errors import ConfigError, NightscopeError, TransportError, UnreadableRecording
from tasks.escaping import visible_name
from tasks.ingest import sidecar
from tasks.ingest.landing import AddReport, Found, Refused, add_found, found_among
from tasks.ingest.sidecar import Sidecar
from tasks.operations.intake import check_donor
from tasks.operations.watch_folder.journal import Journal, journal_path
from tasks.operations.watch_folder.settling import Candidate, Round, look, unchanged
from tasks.operations.watch_folder.stills import Grouping, add_pictures
from tasks.operations.watch_folder.stills import among as stills_among
from tasks.schemas import Frozen
from tasks.session import Session

log = logging.getLogger(__name__)

LONGEST_WAIT_S = 300.0
_AT_ONCE = 200
"""Candidates between two looks: what a long queue holds may have changed when its turn comes."""


class Watched(Frozen):
    """What a watch has done.

    Attributes:
        landed: Recordings that are in the landing bucket now, by this watch.
        refused: Recordings that cannot land as they are, by this watch.
        waiting: Recordings that were not finished when it ended.
    """

    landed: int = 0
    refused: int = 0
    waiting: int = 0


@dataclass(frozen=True)
class Plan:
    """How a folder is watched.

    Attributes:
        folder: What is watched, with all folders in it.
        said: About all recordings; a recording's own sidecar goes first.
        settle_s: How long a recording must stay as it is before it lands.
        every_s: Time between two looks.
        pseudonyms: Names of donors, files and pictures are replaced before anything leaves this machine.
        stills: Each picture is a sample of its own, grouped so; None: the folder holds recordings.
    """

    folder: Path
    said: Sidecar
    settle_s: float = 30.0
    every_s: float = 10.0
    pseudonyms: bool = False
    stills: Grouping | None = None


def watch_folder(
    session: Session, plan: Plan, *, once: bool = False, sleep: Callable[[float], None] = time.sleep
) -> Watched:
    """Put what is new in a folder into the landing bucket, until the process is ended.

    Nothing in the folder is changed, moved or removed. Killed anywhere and run again, it goes on; nothing lands twice.
    While the server is away, it is asked again, ever less often; what waits stays in the folder.

    Args:
        session: Whose bucket.
        plan: What is watched, and how.
        once: Look, wait as long as recordings must stay as they are, land what is finished, and end.
        sleep: Waits some seconds.

    Raises:
        ConfigError: It is no folder, another process watches it, or the donor is known by a pseudonym.
        TransportError: With `once`: the server did not answer.
    """
    folder = plan.folder.resolve()
    if not folder.is_dir():
        raise ConfigError(f"watch {plan.folder}: is not a folder that can be read", fix="name the folder to watch")
    check_donor(session.settings, plan.said.donor, plan.pseudonyms)
    path = journal_path(session.settings.state_dir, folder)
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        with FileLock(path.with_suffix(".lock"), timeout=0):
            watch = _Watch(session, replace(plan, folder=folder), Journal(path))
            try:
                return watch.once(sleep) if once else watch.run(sleep)
            finally:
                watch.journal.close()
    except Timeout:
        raise ConfigError(f"watch {folder}: another process watches it already", fix="let it, or end it") from None


class _Watch:
    """One watch, as it goes on."""

    def __init__(self, session: Session, plan: Plan, journal: Journal) -> None:
        self._session, self._plan, self.journal = session, plan, journal
        self._landed = self._refused = 0

    def _look(self) -> Round:
        among = found_among if self._plan.stills is None else stills_among
        return look(self._plan.folder, self.journal, self._plan.settle_s, among)

    def once(self, sleep: Callable[[float], None]) -> Watched:
        if self._look().waiting:
            sleep(self._plan.settle_s)
        return self._watched(self._round())

    def run(self, sleep: Callable[[float], None]) -> Watched:
        wait_s = self._plan.every_s
        log.info(f"watching {_told(self._plan.folder)}")
        while True:
            try:
                self._round()
                wait_s = self._plan.every_s
            except (TransportError, ConfigError, OSError) as error:
                # Keys may be given their rights, and disks be mounted, later: nobody stands beside a microscope.
                wait_s = min(max(2 * wait_s, 1.0), LONGEST_WAIT_S)
                log.warning(f"not now, again in {wait_s:.0f} s: {error}")
            sleep(wait_s)

    def _watched(self, seen: Round) -> Watched:
        return Watched(landed=self._landed, refused=self._refused, waiting=seen.waiting)

    def _round(self) -> Round:
        """Land what is finished; ends when nothing is."""
        while True:
            seen = self._look()
            turn = [each for each in seen.finished[:_AT_ONCE] if unchanged(each, self._plan.folder)]
            if self._plan.stills is not None and turn:
                self._keep(turn, self._pictures(turn, self._plan.stills))
            elif self._plan.stills is None:
                for candidate in turn:
                    self._keep([candidate], self._recording(candidate))
            for folder, signature in seen.done.items():
                self.journal.settle(folder, signature)
            self.journal.forget_others(seen.folders, seen.there)
            if not seen.finished:
                return seen

    def _keep(self, candidates: Sequence[Candidate], report: AddReport) -> None:
        """Write down what became of candidates; one that has changed meanwhile waits again."""
        accepted = {each.path: each.key for each in report.accepted}
        reasons = {each.path: each.reason for each in report.refused}
        for candidate in candidates:
            path, told = str(candidate.found.path), _told(candidate.entry.path)
            if not unchanged(candidate, self._plan.folder):
                log.info(f"changed while it was read, and waits again: {told}")
            elif (key := accepted.get(_utf8(path))) is not None:
                self._landed += 1
                self.journal.note(replace(candidate.entry, became="landed", note=key))
                log.info(f"landed {told} → {key}")
            else:
                self._refused += 1
                reason = reasons.get(_utf8(path), "was neither taken nor refused")
                self.journal.note(replace(candidate.entry, became="refused", note=reason))
                log.warning(f"set aside {told}: {reason}")

    def _pictures(self, candidates: Sequence[Candidate], grouping: Grouping) -> AddReport:
        files = [candidate.files[0] for candidate in candidates]
        return add_pictures(self._session, self._plan.folder, files, self._plan.said, grouping,
                            pseudonyms=self._plan.pseudonyms)  # fmt: skip

    def _recording(self, candidate: Candidate) -> AddReport:
        try:
            return self._added(candidate)
        except UnreadableRecording as error:
            return AddReport(refused=(Refused(path=_utf8(candidate.found.path), reason=str(error)),))

    def _added(self, candidate: Candidate) -> AddReport:
        """Raises `UnreadableRecording` where its sidecar is wrong: whose it is must be clear."""
        found = candidate.found
        if isinstance(found, Refused):
            return AddReport(refused=(found,))
        return add_found(self._session.lake, [found], self._said(found, candidate), pseudonyms=self._plan.pseudonyms)

    def _said(self, found: Found, candidate: Candidate) -> Sidecar:
        own = candidate.files[-1]
        if not own.name.endswith(sidecar.SUFFIX):
            return self._plan.said
        sidecar.check_size(own.stat().st_size)
        said: Sidecar = sidecar.parse(own.read_bytes())
        try:
            check_donor(self._session.settings, said.donor, self._plan.pseudonyms)
        except NightscopeError as error:
            raise UnreadableRecording(str(error)) from error
        given = said.model_dump(exclude_none=True, exclude={"name"})
        return self._plan.said.model_copy(update=given)


def _utf8(path: str | os.PathLike[str]) -> str:
    """A path as reports have it."""
    return os.fsencode(path).decode("utf-8", "replace")


def _told(path: str | os.PathLike[str]) -> str:
    return visible_name(_utf8(path))
