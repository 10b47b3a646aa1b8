"""A container of compose.yaml as processes of this machine: namespaces, a root of its own, its user, its rights.

What Docker would do for it is done for it here: network, process, mount and host name namespaces; a root that is read
only where compose.yaml says so, with its volumes, files and tmpfs; its user, no capabilities but those it adds. Limits
of memory, processors and processes are not set. Needs root.
"""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

from tasks.config import HOME
from tests.production.compose import Service
from tests.production.images import SITE, StandIn, stand_in
from tests.waiting import until

LABEL_STUDIO = (HOME / ".nightscope/envs/label-studio").resolve()
_BIN = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Container:
    """One instance of a service.

    Args:
        name: Its host name.
        service: What it runs.
        namespace: Its network's.
        hosts: Names that it knows, as a hosts file.
        folder: Holds its root, its log, and, shared with the other instances, `volumes`.
    """

    def __init__(self, name: str, service: Service, namespace: str, hosts: str, folder: Path) -> None:
        self.name = name
        self.service = service
        self.log = folder / f"{name}.log"
        self._namespace = namespace
        self._hosts = hosts
        self._folder = folder
        self._image = stand_in(service.image)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def environment(self) -> dict[str, str]:
        """Of its processes."""
        image = self._image
        home = "/tmp" if image.uid == 10001 else "/var/lib"
        machine = {name: value for name, value in os.environ.items() if name.startswith("OPENBLAS_")}
        own = {"PATH": f"{image.path}:{_BIN}", "HOME": home, "HOSTNAME": self.name}
        return machine | own | image.environment | self.service.environment

    def start(self) -> None:
        """Start it; its output goes to its log."""
        script = self._folder / f"{self.name}.sh"
        script.write_text("\n".join(self._script()) + "\n")
        spaces = ("--mount", "--pid", "--fork", "--uts", "--ipc")
        command = ("ip", "netns", "exec", self._namespace, "unshare", *spaces, "sh", "-eu", str(script))
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                command, env=self.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )

    def ended(self) -> int | None:
        """Its exit code; None while it runs."""
        assert self._process is not None
        return self._process.poll()

    def wait(self, patience_s: float) -> int:
        """Its exit code, once it has ended."""
        assert self._process is not None
        return self._process.wait(patience_s)

    def kill(self, number: signal.Signals = signal.SIGKILL) -> None:
        """Send its first process a signal; by the kernel's rule the others of the container die with it."""
        if self._process is not None and self._process.poll() is None and (first := self._first()):
            os.kill(first, number)

    def end(self) -> None:
        """Be rid of it."""
        if self._process is None:
            return
        # Not by unshare's --kill-child: the kernel forgets it when the first process changes its user.
        until(lambda: self.ended() is not None or self._first(), 10)
        self.kill()
        self._process.wait(20)

    def execute(self, *words: str, patience_s: float = 60, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run something in it, as `docker compose exec` does."""
        first = self._first()
        assert first, f"{self.name} does not run"
        spaces = ("--mount", "--net", "--pid", "--uts", "--ipc", "--root", "--wd")
        command = ("nsenter", "--target", str(first), *spaces, "--", *self._rights(), *words)
        return subprocess.run(
            command, env=self.environment | variables, capture_output=True, text=True, timeout=patience_s, check=False
        )

    def healthy(self) -> bool:
        """What its health check answers."""
        assert self.service.health, f"{self.name} has no health check"
        try:
            return self.execute(*self.service.health, patience_s=30).returncode == 0
        except (subprocess.TimeoutExpired, AssertionError):
            return False

    def _first(self) -> int | None:
        if self._process is None:
            return None
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children")
        try:
            found = children.read_text().split()
        except OSError:
            return None
        return int(found[0]) if found else None

    def _rights(self) -> tuple[str, ...]:
        uid, gid = str(self.service.raw["user"]).split(":")
        assert self.service.raw["cap_drop"] == ["ALL"]
        kept = "".join(f",+{each.lower()}" for each in self.service.raw.get("cap_add", ()))
        groups = ("--clear-groups", f"--bounding-set=-all{kept}", "--inh-caps=-all")
        return ("setpriv", f"--reuid={uid}", f"--regid={gid}", *groups, "--no-new-privs", "--")

    def _command(self) -> tuple[str, ...]:
        entrypoint = self.service.entrypoint if self.service.entrypoint is not None else self._image.entrypoint
        init = ("tini", "--") if self.service.raw.get("init") else ()
        return (*init, *entrypoint, *(self.service.command or ()))

    def _script(self) -> list[str]:
        """What makes its root and becomes its first process. Runs in its namespaces, as their first process."""
        base = self._folder / "roots" / self.name
        (base / "mount").mkdir(parents=True, exist_ok=True)
        root = Root(base, self._image)
        for spec in self.service.raw.get("tmpfs", ()):
            root.temporary(*spec.partition(":")[::2])
        root.show(HOME, Path(sys.base_prefix))
        root.bind(HOME, "/opt/nightscope", read_only=True)
        if (HOME / ".nightscope").is_dir():  # an image has neither this checkout's keys nor its folders' modes
            for place in (HOME, Path("/opt/nightscope")):
                root.temporary(f"{place}/.nightscope", "mode=755")
        if self.service.image == "nightscope/label-studio":
            root.show(LABEL_STUDIO)
            root.bind(LABEL_STUDIO, "/opt/label-studio/.venv", read_only=True)
        root.hide(self._image.hidden)
        for volume in self.service.raw.get("volumes", ()):
            source = Path(volume["source"])
            if volume["type"] == "volume":
                source = self._folder / "volumes" / source
                source.mkdir(parents=True, exist_ok=True)
            root.bind(source, volume["target"], read_only=bool(volume.get("read_only")))
        sysctls = [
            f"echo {value} > /proc/sys/{key.replace('.', '/')}"
            for key, value in self.service.raw.get("sysctls", {}).items()
        ]
        become = shlex.join((*self._rights(), "sh", "-c", 'cd "$0" && exec "$@"', "/opt/nightscope", *self._command()))
        return [
            "export ENVIRONMENT_PATH=$PATH",
            f"export PATH={_BIN}",
            f"hostname {shlex.quote(self.name)}",
            *sysctls,
            *root.lines(self._hosts, read_only=bool(self.service.raw.get("read_only"))),
            "export PATH=$ENVIRONMENT_PATH",
            "unset ENVIRONMENT_PATH",
            f"exec /usr/sbin/chroot {root.path} {become}",
        ]


class Root:
    """The lines of a shell script that make a container's root: this machine's, with its own things in front."""

    def __init__(self, base: Path, image: StandIn) -> None:
        self.path = base / "mount" / "root"
        self._base = base / "mount"
        self._image = image
        self._lines: list[str] = []
        self._shown: list[Path] = []

    def _at(self, target: str | Path) -> str:
        inside = str(target)
        if inside.startswith("/var/run"):  # a link out of the root
            inside = inside.removeprefix("/var")
        return shlex.quote(f"{self.path}{inside}")

    def temporary(self, target: str, options: str) -> None:
        """A tmpfs."""
        where = self._at(target)
        self._lines += [f"mkdir -p {where}", f"mount -t tmpfs -o {options or 'rw'} tmpfs {where}"]

    def show(self, *paths: Path) -> None:
        """Folders of this machine, in their own places, for users who may not look into what they lie in."""
        for path in paths:
            for parent in reversed(path.parents[:-1]):
                self._lines.append(f"mkdir -p {self._at(parent)}")
                if not any(parent.is_relative_to(shown) for shown in self._shown):  # else it is read only, or new
                    self._lines.append(f"chmod a+x {self._at(parent)}")
            self.bind(path, str(path), read_only=True)
            self._shown.append(path)

    def bind(self, source: Path, target: str, *, read_only: bool) -> None:
        """A folder or file of this machine."""
        where, what = self._at(target), shlex.quote(str(source))
        make = f"mkdir -p {where}" if source.is_dir() else f"mkdir -p $(dirname {where}); touch {where}"
        self._lines += [make, f"mount --bind {what} {where}"]
        if read_only:
            self._lines.append(f"mount -o remount,bind,ro {where}")

    def hide(self, entries: frozenset[str]) -> None:
        """Take entries out of site-packages: a whiteout of overlayfs is a device 0, 0."""
        if not entries:
            return
        gone = shlex.quote(f"{self._base}/gone")
        self._lines.append(f"mkdir -p {gone}; cd {gone}")
        self._lines += [f"mknod {shlex.quote(entry)} c 0 0" for entry in sorted(entries)]
        self._lines.append("cd /")
        for place in (HOME, Path("/opt/nightscope")):
            site = self._at(place / SITE.relative_to(HOME))
            self._lines.append(f"mount -t overlay -o ro,lowerdir={gone}:{shlex.quote(str(SITE))} overlay {site}")

    def lines(self, hosts: str, *, read_only: bool) -> list[str]:
        """All of it."""
        base, root, image = shlex.quote(str(self._base)), shlex.quote(str(self.path)), self._image
        passwd = f"root:x:0:0::/root:/bin/sh\\n{image.user}:x:{image.uid}:{image.uid}::/tmp:/bin/sh\\n"
        return [
            f"mount -t tmpfs -o mode=755 tmpfs {base}",
            f"mkdir -p {base}/upper/etc {base}/work {root}",
            f"printf '{passwd}' > {base}/upper/etc/passwd",
            f"printf %s {shlex.quote(hosts)} > {base}/upper/etc/hosts",
            f": > {base}/upper/etc/resolv.conf",
            f"mount -t overlay -o lowerdir=/,upperdir={base}/upper,workdir={base}/work overlay {root}",
            f"mount -t proc proc {root}/proc",
            f"mount -t sysfs -o ro sysfs {root}/sys",
            f"mount --rbind /dev {root}/dev",
            f"mount -t tmpfs -o mode=1777 tmpfs {root}/dev/shm",
            *self._lines,
            *([f"mount -o remount,ro {root}"] if read_only else []),
        ]
