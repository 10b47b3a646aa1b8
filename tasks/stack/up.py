"""Starting the stack and waiting until all of it is healthy."""

from __future__ import annotations

import os
import queue
import threading
import time
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path

from filelock import FileLock, Timeout

from tasks.config import HOME, Settings, load_settings
from tasks.errors import StackError
from tasks.stack import airflow, ports, prepare, s3, secrets, services, settings_file
from tasks.stack.devices import present
from tasks.stack.down import end_stack
from tasks.stack.events import Event, silent
from tasks.stack.health import reachable
from tasks.stack.layout import Layout
from tasks.stack.processes import end_marked, holds
from tasks.stack.service import Service
from tasks.stack.status import ServiceStatus, service_names, status
from tasks.stack.supervisor import Supervisor
from tasks.stack.watch import Watch

Tell = Callable[[Event], None]


def up(
    state_dir: Path,
    *,
    units: Collection[str] = services.UNITS,
    on_event: Tell = silent,
    timeout_s: float = 600,
    preferred: Mapping[str, int] = ports.PREFERRED,
    home: Path = HOME,
) -> list[ServiceStatus]:
    """Start what is not up yet and wait until all of it is healthy. Quick when it is up already.

    Writes `<state_dir>/settings.env`; call `tasks.config.load_settings` afterwards.

    Args:
        state_dir: The stack's state folder; created if needed.
        units: Which ones of `tasks.stack.services.UNITS`; others that run are stopped.
        on_event: Told of each step, in the calling thread.
        timeout_s: How long the services may take to become healthy.
        preferred: Unit -> the port to try first; 0 = any.
        home: Holds `dags/`, `plugins/` and Label Studio's environment.

    Returns:
        The state of every service of `units`.

    Raises:
        StackError: A service died, or did not become healthy in time, or an external one does not answer. What this
            call started is ended again.
    """
    layout = Layout.at(state_dir)
    layout.create()
    try:
        with FileLock(layout.lock, timeout=timeout_s, mode=0o600):
            return _up(layout, units, on_event, timeout_s, preferred, home)
    except Timeout:
        raise StackError(
            f"{layout.state_dir}: another `nightscope up` or `down` is at work here", fix="wait for it, or end it"
        ) from None


def _up(
    layout: Layout, units: Collection[str], on_event: Tell, timeout_s: float, preferred: Mapping[str, int], home: Path
) -> list[ServiceStatus]:
    begun = time.monotonic()

    def tell(service: str, state: str, note: str = "") -> None:
        on_event(Event(service, state, time.monotonic() - begun, note))

    external = _external(layout, units, tell)
    embedded = [unit for unit in services.UNITS if unit in units and unit not in external]
    supervisor = Supervisor(layout)
    was_up = supervisor.answers()
    if not was_up:
        for name in end_marked(layout.marker):
            tell(name or "stack", "note", "ended a process that a crash had left behind")
    keys = secrets.load_or_create(layout)
    chosen = _choose_ports(layout, embedded, preferred, tell)
    environ = _environ_of_services(layout, external)
    settings = settings_file.with_embedded(load_settings(layout.state_dir), chosen, keys)
    table = services.table(layout, settings, keys, chosen, embedded, environ, home)
    settings_file.write(layout, settings_file.lines(settings, embedded))
    airflow.write_passwords(layout.airflow_passwords, keys.airflow_password, settings.airflow.people)
    prepare.write_mlflow_auth(layout.mlflow_auth_config, f"sqlite:///{layout.mlflow_auth_db}")
    if "s3" in embedded:
        s3.lay_out(layout, settings.s3)
    inherited = services.inherited_environment(environ)
    try:
        if table or was_up:
            for name in supervisor.configure(table):
                tell(name, "note", "its settings changed: it is started again")
        if table:
            if not was_up:
                supervisor.start(inherited)
            _Start(layout, supervisor, settings, inherited, begun + timeout_s).run(table, on_event, begun)
    except BaseException:  # Ctrl-C, too, must not leave half a stack
        if not was_up:
            end_stack(layout)
        raise
    return status(layout.state_dir, units=units)


def _external(layout: Layout, units: Collection[str], tell: Callable[..., None]) -> dict[str, str]:
    """External services by unit, each of them answering."""
    found = {unit: url for unit, url in settings_file.external(layout, os.environ).items() if unit in units}
    for unit, url in found.items():
        if not reachable(url):
            key = settings_file.URL_KEYS[unit]
            raise StackError(
                f"{unit}: {key} names {url}, and nothing answers there",
                fix=f"start it, correct it, or unset {key} to use the embedded one",
            )
        tell(unit, "external", url)
    return found


def _choose_ports(
    layout: Layout, embedded: list[str], preferred: Mapping[str, int], tell: Callable[..., None]
) -> dict[str, int]:
    kept = ports.remembered(layout)
    names = [name for unit in embedded for name in (service_names(unit) if unit == "s3" else (unit,))]
    choices = ports.choose(
        names, kept, preferred=preferred, usable=lambda port: ports.is_free(port) or holds(port, layout.marker)
    )
    for name, choice in choices.items():
        if choice.instead_of is not None:
            note = f"port {choice.instead_of} is taken by another program: using {choice.port}"
            tell(service_names(name)[0], "note", note)
    chosen = {unit: choice.port for unit, choice in choices.items()}
    ports.remember(layout, {**kept, **chosen})
    return chosen


def _environ_of_services(layout: Layout, external: Mapping[str, str]) -> dict[str, str]:
    """Our environment without what only repeats an earlier `settings.env`, which may be out of date by now."""
    written = settings_file.written(layout)
    stale = {key for key, value in os.environ.items() if written.get(key.upper()) == value}
    return {key: value for key, value in os.environ.items() if key not in stale}


class _Start:
    """One start: every unit in its own thread, all events told in the calling thread."""

    def __init__(
        self, layout: Layout, supervisor: Supervisor, settings: Settings, inherited: dict[str, str], deadline: float
    ) -> None:
        self._layout = layout
        self._supervisor = supervisor
        self._settings = settings
        self._inherited = inherited
        self._deadline = deadline
        self._events: queue.SimpleQueue[tuple[str, str, str]] = queue.SimpleQueue()
        self._given_up = threading.Event()

    def run(self, table: list[Service], on_event: Tell, begun: float) -> None:
        """Start `table`; raises the first error."""
        by_unit = {unit: [each for each in table if each.unit == unit] for unit in {each.unit for each in table}}
        with ThreadPoolExecutor(len(by_unit), thread_name_prefix="stack") as pool:
            pending: set[Future[None]] = {pool.submit(self._unit, members) for members in by_unit.values()}
            try:
                while pending:
                    done, pending = wait(pending, timeout=0.1, return_when=FIRST_COMPLETED)
                    self._tell(on_event, begun)
                    for future in done:
                        future.result()
            finally:
                self._given_up.set()
        self._tell(on_event, begun)

    def _tell(self, on_event: Tell, begun: float) -> None:
        while not self._events.empty():
            service, state, note = self._events.get()
            on_event(Event(service, state, time.monotonic() - begun, note))

    def _unit(self, members: list[Service]) -> None:
        watch = Watch(self._layout, self._supervisor, self._given_up, self._deadline)
        waiting = []
        for each in members:
            if watch.is_healthy(each, members[0]):
                self._events.put((each.name, "running", ""))
            else:
                waiting.append(each)
        if waiting:
            note = prepare.due(self._layout, members[0])
            if note:
                self._events.put((members[0].name, "preparing", note))
            prepare.prepare(self._layout, members[0], {**self._inherited, **members[0].environment})
        for each in waiting:
            self._events.put((each.name, "starting", ""))
            self._supervisor.launch(each.name)
        for each in waiting:  # the one that the others are seen through stands first
            try:
                watch.wait_healthy(each, members[0])
            except StackError:
                self._events.put((each.name, "failed", ""))
                raise
            if each.name == "airflow-api-server":
                account, devices = self._settings.airflow, len(present(self._settings))
                prepare.make_pools(each, account.username, account.password.get_secret_value(), devices)
            self._events.put((each.name, "running", ""))
