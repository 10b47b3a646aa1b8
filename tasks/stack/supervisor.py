"""The process manager: supervisord's configuration, its start, and its XML-RPC on a Unix socket.

The only module that knows supervisor. supervisord restarts what dies; each service runs through `tasks.stack.launch`.
"""

from __future__ import annotations

import http.client
import json
import shlex
import subprocess
import sys
import time
import xmlrpc.client
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from tasks.errors import StackError
from tasks.private_files import write_private
from tasks.stack.layout import Layout
from tasks.stack.processes import SERVICE_MARK, STACK_MARK
from tasks.stack.service import Service

# States as supervisor names them; 'backoff': died while starting, will be tried again; 'fatal': given up.
ALIVE = frozenset({"starting", "running", "stopping"})
_UNANSWERED = (OSError, http.client.HTTPException, xmlrpc.client.ProtocolError)


@dataclass(frozen=True)
class ProcessInfo:
    """What supervisord says of a service. `state` is its own word in lower case; `since` None unless it runs."""

    name: str
    state: str
    pid: int | None
    since: datetime | None
    log: str


def render_conf(layout: Layout, services: Iterable[Service]) -> str:
    """supervisord's configuration for `services`. Holds no secret, and is the same text for the same services."""
    socket, control = _escaped(layout.socket), _escaped(layout.control_dir)
    head = f"""\
; written by `nightscope up`
[unix_http_server]
file={socket}
chmod=0700

[supervisord]
directory={_escaped(layout.state_dir)}
pidfile={control}/supervisord.pid
logfile={_escaped(layout.log("supervisord"))}
logfile_maxbytes=5MB
logfile_backups=2
umask=077
identifier=nightscope

[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface

[supervisorctl]
serverurl=unix://{socket}
"""
    return head + "".join(_program(layout, each) for each in services)


def _program(layout: Layout, service: Service) -> str:
    command = [sys.executable, "-P", "-m", "tasks.stack.launch", str(layout.service_file(service.name))]
    # The group gets the signals: MLflow's and Airflow's own children, too.
    return f"""
[program:{service.name}]
command={_escaped(shlex.join(command))}
autostart=false
autorestart=true
startsecs=1
startretries=5
stopasgroup=true
killasgroup=true
stopwaitsecs={service.stop_s}
redirect_stderr=true
stdout_logfile={_escaped(layout.log(service.name))}
stdout_logfile_maxbytes=10MB
stdout_logfile_backups=3
"""


def _escaped(value: Any) -> str:
    return str(value).replace("%", "%%")


def service_text(layout: Layout, service: Service) -> str:
    """What `tasks.stack.launch` reads."""
    content: dict[str, Any] = {"command": list(service.command), "environment": dict(service.environment)}
    if service.waits_for is not None:
        content["waits_for"] = service.waits_for
    if service.name == "airflow-scheduler":
        content["airflow_db"] = str(layout.airflow_db)
    return json.dumps(content, indent=1, sort_keys=True) + "\n"


class Supervisor:
    """The running supervisord of one stack.

    Args:
        layout: Paths of the stack.
    """

    def __init__(self, layout: Layout) -> None:
        self._layout = layout

    def answers(self) -> bool:
        """Whether it runs and takes commands."""
        try:
            return self._call("getState")["statename"] in {"RUNNING", "RESTARTING"}
        except StackError:
            return False

    def start(self, environ: Mapping[str, str], timeout_s: float = 20) -> None:
        """Start it in the background, with no service running yet.

        Args:
            environ: What the services inherit.
            timeout_s: How long to wait for its first answer.

        Raises:
            StackError: It does not start or does not answer.
        """
        layout = self._layout
        layout.socket.unlink(missing_ok=True)  # a killed one leaves it behind
        layout.log("supervisord").touch(mode=0o600)  # it opens its log before it sets its umask
        command = [sys.executable, "-P", "-m", "supervisor.supervisord", "-c", str(layout.supervisord_conf)]
        own = {**environ, STACK_MARK: layout.marker, SERVICE_MARK: "supervisord"}
        done = subprocess.run(command, env=own, capture_output=True, text=True, timeout=timeout_s, check=False)
        if done.returncode != 0:
            raise StackError(
                f"supervisord did not start: {(done.stderr or done.stdout).strip()[-600:]}",
                fix=f"look into {layout.log('supervisord')}",
            )
        deadline = time.monotonic() + timeout_s
        while not self.answers():
            if time.monotonic() > deadline:
                raise StackError("supervisord does not answer", fix=f"look into {layout.log('supervisord')}")
            time.sleep(0.05)

    def configure(self, services: Iterable[Service]) -> list[str]:
        """Write the configuration and the service files, and stop the services whose file changed.

        A running supervisord takes over the changes; call before `start` otherwise.

        Returns:
            Names of the running services that were stopped because they changed or are no more wanted.
        """
        layout, table = self._layout, list(services)
        changed = []
        for each in table:
            path, text = layout.service_file(each.name), service_text(layout, each)
            if not path.exists() or path.read_text() != text:
                write_private(path, text)
                changed.append(each.name)
        write_private(layout.supervisord_conf, render_conf(layout, table))
        if not self.answers():
            return []
        added, modified, removed = self._call("reloadConfig")[0]
        known = self.processes()
        outdated = {*changed, *modified, *removed} & set(known)
        stopped = [name for name in known if name in outdated and known[name].state in ALIVE]
        self.stop(stopped)
        for name in (*modified, *removed):
            self._call("removeProcessGroup", name)
        for name in (*added, *modified):
            self._call("addProcessGroup", name)
        return stopped

    def processes(self) -> dict[str, ProcessInfo]:
        """What it says of every service.

        Raises:
            StackError: It does not answer.
        """
        return {info["name"]: _parse(info) for info in self._call("getAllProcessInfo")}

    def launch(self, name: str) -> None:
        """Start a service and do not wait for it; nothing if it runs."""
        try:
            self._call("startProcess", name, False)
        except xmlrpc.client.Fault as fault:
            if "ALREADY_STARTED" not in fault.faultString:
                raise StackError(f"{name}: cannot be started: {fault.faultString}") from fault

    def stop(self, names: Iterable[str], on_stopped: Callable[[str], None] = lambda name: None) -> None:
        """Stop services, all at once, and wait for them; each is killed after its `stop_s`.

        Args:
            names: Services; those that do not run are passed over.
            on_stopped: Told of each as it ends.

        Raises:
            StackError: One cannot be stopped, or supervisord does not answer.
        """
        waiting = []
        for name in names:
            try:
                self._call("stopProcess", name, False)
                waiting.append(name)
            except xmlrpc.client.Fault as fault:
                if "NOT_RUNNING" not in fault.faultString:
                    raise StackError(f"{name}: cannot be stopped: {fault.faultString}") from fault
        while waiting:
            known = self.processes()
            for name in [name for name in waiting if known[name].state not in ALIVE]:
                waiting.remove(name)
                on_stopped(name)
            time.sleep(0.1 if waiting else 0)

    def shutdown(self) -> None:
        """Let it end itself and whatever still runs."""
        self._call("shutdown")

    def _call(self, method: str, *arguments: Any) -> Any:
        from supervisor.xmlrpc import SupervisorTransport

        socket = self._layout.socket
        if not socket.exists():
            raise StackError(f"supervisord does not run: there is no {socket}", fix="nightscope up")
        # A proxy per call: its connection is not safe to share between threads.
        proxy = xmlrpc.client.ServerProxy(
            "http://127.0.0.1", transport=SupervisorTransport(None, None, serverurl=f"unix://{socket}")
        )
        try:
            with proxy:
                return getattr(proxy.supervisor, method)(*arguments)
        except _UNANSWERED as error:
            raise StackError(f"supervisord does not answer on {socket}: {error}", fix="nightscope up") from error


def _parse(info: dict[str, Any]) -> ProcessInfo:
    state = str(info["statename"]).lower()
    alive = state in ALIVE
    return ProcessInfo(
        name=str(info["name"]),
        state=state,
        pid=int(info["pid"]) or None,
        since=datetime.fromtimestamp(info["start"], UTC) if alive and info["start"] else None,
        log=str(info["stdout_logfile"]),
    )
