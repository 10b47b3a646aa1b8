"""Installs Label Studio's own environment: `python -m tasks.stack.install` (`make install` calls it).

Label Studio pins libraries that do not go with ours (pyarrow < 25), so it lives apart, in
`.nightscope/envs/label-studio`, from a pinned and hashed list. An empty, migrated database is kept beside it: its
migrations take half a minute of a processor, which every first start, and every test run, would pay again.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from filelock import FileLock

from tasks.config import HOME
from tasks.errors import StackError
from tasks.stack.prepare import LABEL_STUDIO_DATABASE, empty_database, tail
from tasks.stack.services import OFFLINE, inherited_environment

_PATIENCE_S = 1800


def install(home: Path = HOME, *, uv: str | None = None, environ: Mapping[str, str] | None = None) -> bool:
    """Bring `<home>/.nightscope/envs/label-studio` to what `<home>/docker/label-studio/requirements.txt` says.

    Safe to be killed and repeated: the stamp that says 'complete' is written last.

    Args:
        home: The checkout.
        uv: Path of uv; default: on PATH.
        environ: Environment of the commands; default this process's.

    Returns:
        Whether anything had to be done.

    Raises:
        StackError: uv is missing, or a command failed.
    """
    inherited = os.environ if environ is None else environ
    requirements = home / "docker" / "label-studio" / "requirements.txt"
    env_dir = home / ".nightscope" / "envs" / "label-studio"
    env_dir.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    stamp, wanted = env_dir / "nightscope-installed", fingerprint(requirements)
    with FileLock(env_dir.parent / "label-studio.lock"):
        if stamp.exists() and stamp.read_text() == wanted:
            return False
        found = uv or shutil.which("uv", path=inherited.get("PATH"))
        if found is None:
            raise StackError("Label Studio's environment: uv is not there", fix="run 'make install', or pass --uv")
        print(f"installing Label Studio's own environment into {env_dir}", flush=True)
        _run([found, "venv", "--quiet", "--clear", "--python", sys.executable, str(env_dir)], inherited)
        python = str(env_dir / "bin" / "python")
        sync = ("pip", "sync", "--require-hashes", "--python", python, str(requirements))
        _run([found, *sync], inherited)
        print("migrating an empty Label Studio database (half a minute)", flush=True)
        keep_empty_database(env_dir / "bin" / "label-studio", inherited)
        stamp.write_text(wanted)
    return True


def fingerprint(requirements: Path) -> str:
    """What an installed environment must have been made from.

    Raises:
        StackError: The list of requirements is missing.
    """
    if not requirements.is_file():
        raise StackError(f"{requirements}: not found", fix="run from a complete checkout")
    return f"{hashlib.sha256(requirements.read_bytes()).hexdigest()} python-{platform.python_version()}"


def keep_empty_database(binary: Path, environ: Mapping[str, str]) -> Path:
    """Let Label Studio migrate an empty database and keep it where `up` takes it from.

    Raises:
        StackError: Label Studio failed.
    """
    target = empty_database(binary)
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="nightscope-label-studio-") as folder:
        # Any of its commands migrates first. This one then finds no such user, and makes none.
        command = [str(binary), "user", "--username", "nobody@localhost"]
        own = {**inherited_environment(environ), **OFFLINE, "LABEL_STUDIO_BASE_DATA_DIR": folder}
        log = Path(folder) / "migrate.log"
        with log.open("wb") as output:
            done = subprocess.run(
                command, env=own, stdout=output, stderr=subprocess.STDOUT, timeout=_PATIENCE_S, check=False
            )
        made = Path(folder) / LABEL_STUDIO_DATABASE
        if done.returncode != 0 or not made.exists():
            raise StackError(f"Label Studio cannot migrate an empty database:\n{tail(log)}")
        temporary = target.with_suffix(".new")
        shutil.copyfile(made, temporary)
        temporary.replace(target)
    return target


def _run(command: Sequence[str], environ: Mapping[str, str]) -> None:
    done = subprocess.run(command, env=dict(environ), timeout=_PATIENCE_S, check=False)
    if done.returncode != 0:
        raise StackError(f"{' '.join(command[:3])}: ended with {done.returncode}", fix="see its message above")


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description="Install Label Studio's own environment.")
    parser.add_argument("--uv", help="path of uv; default: on PATH")
    arguments = parser.parse_args()
    try:
        if not install(uv=arguments.uv):
            print("Label Studio's own environment is up to date")
    except StackError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
