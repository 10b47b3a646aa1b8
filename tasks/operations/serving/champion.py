"""The champion of a line while a service runs: loaded, and exchanged when another takes charge.

A model is served only after the lake's evidence has said that it is in charge, and its weights' bytes are those that
a training of ours left. Once that was so it is served until another one is: an MLflow that does not answer, or a
champion that cannot be confirmed at the moment, changes nothing, and `/version` says so.
"""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from tasks.config import Line
from tasks.errors import NightscopeError, NotFound
from tasks.operations.evidence import read_card
from tasks.operations.predicting.loading import LoadedModel, load_record
from tasks.promotion.in_charge import find_model
from tasks.schemas import now
from tasks.session import Session
from tasks.steps.predictors import reference

_WARM_UP_PX = 64

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Champion:
    """The model that answers.

    Attributes:
        loaded: It, ready to predict.
        card: Its model card, Markdown; None where none was written.
        loaded_at: When it took over here.
    """

    loaded: LoadedModel
    card: str | None
    loaded_at: datetime


@dataclass(frozen=True)
class Checked:
    """The last look at who is in charge."""

    at: datetime
    confirmed: bool
    why_not: str = ""


class ChampionWatch:
    """Looks after the champion of a line, in a thread of its own.

    Args:
        session: Of the installation; used by this watch alone.
        name: The line.
        device: Where models run.
        every_s: How often to look.
    """

    def __init__(self, session: Session, name: str, device: str | None, every_s: float) -> None:
        self._session, self._name, self._device, self._every_s = session, name, device, every_s
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._go_on, name="champion", daemon=True)
        self.current: Champion | None = None
        """Replaced as a whole; take it once for each request."""
        self.checked = Checked(now(), False, "not looked yet")

    def start(self) -> None:
        """Look once, then in the background.

        Raises:
            ConfigError: There is no such line.
        """
        self._session.line(self._name)
        self.look()
        self._thread.start()

    def stop(self) -> None:
        """End it."""
        self._ending.set()
        if self._thread.is_alive():
            self._thread.join()

    def look(self) -> None:
        """Look who is in charge, and load it if it is another one. No error ends a service."""
        try:
            self._look()
        except NightscopeError as error:
            self._say(str(error))
        except Exception as error:  # a library's, of one look: the next may succeed
            log.exception("line %s: looking for the champion failed", self._name)
            self._say(f"{type(error).__name__}, see the log")
        else:
            self.checked = Checked(now(), True)

    def _look(self) -> None:
        line, record = self._session.line(self._name), find_model(self._session, self._name)
        there = self.current.loaded if self.current else None
        if there and (there.record.version, there.model, there.line) == (record.version, reference(record), line):
            return
        loaded = load_record(self._session, line, record, self._device)
        loaded.rows(
            np.zeros((_WARM_UP_PX, _WARM_UP_PX, 3), np.uint8)
        )  # the first one takes seconds: nobody waits for it
        self.current = Champion(loaded, self._card(line, record.version), now())
        log.info("line %s: model version %s answers from now on", self._name, record.version)

    def _card(self, line: Line, version: str) -> str | None:
        try:
            return read_card(self._session, line.line, version).decode()
        except NotFound:
            return None

    def _say(self, why: str) -> None:
        if why != self.checked.why_not:
            log.warning("line %s: who is in charge is not confirmed: %s", self._name, why)
        self.checked = Checked(now(), False, why)

    def _go_on(self) -> None:
        while not self._ending.wait(self._every_s):
            self.look()
