"""Programs and libraries: there, whole, and the releases that this one was tested with."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from collections import defaultdict
from collections.abc import Iterator
from importlib.metadata import distributions
from pathlib import Path

from tasks.config import HOME
from tasks.errors import StackError
from tasks.operations.doctor.findings import Finding, check, ok, unknown, warning, wrong
from tasks.operations.doctor.patient import Patient
from tasks.stack.service import program

_PATIENCE_S = 300
"""On a machine that trains, torch alone takes a minute to be imported."""
_DECODERS = ("h264", "mjpeg", "mpeg4", "rawvideo")
_SHOWN = 8


def in_python(code: str) -> tuple[int, str]:
    """Exit code and output of Python code in a process of its own: a library that crashes takes nobody along."""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=_PATIENCE_S, check=False
    )
    return done.returncode, (done.stdout if done.returncode == 0 else done.stderr).strip()


@check("programs.rclone")
def rclone(patient: Patient) -> Iterator[Finding]:
    """The embedded S3 server's program runs."""
    if "s3" in patient.external:
        return
    try:
        path = program("rclone")
        done = subprocess.run([path, "version"], capture_output=True, text=True, timeout=_PATIENCE_S, check=False)
    except (StackError, OSError) as error:
        yield wrong(f"rclone cannot be run: {error}", "make install")
        return
    if done.returncode != 0:
        yield wrong(f"{path}: ends with {done.returncode}: {done.stderr[:200]}", "make install")
        return
    yield ok(f"{done.stdout.splitlines()[0]} at {path}")


@check("programs.label-studio")
def label_studio(patient: Patient) -> Iterator[Finding]:
    """Label Studio's own environment is whole, and the one that this release lists."""
    if "label-studio" in patient.external:
        return
    from tasks.stack.install import fingerprint
    from tasks.stack.services import label_studio_program

    try:
        path = label_studio_program(HOME, patient.environ)
    except StackError as error:
        yield wrong(error.thing, error.fix or "make install")
        return
    stamp, requirements = path.parent.parent / "nightscope-installed", HOME / "docker/label-studio/requirements.txt"
    if "NIGHTSCOPE_LABEL_STUDIO_BIN" in patient.environ or not requirements.is_file():
        yield ok(f"{path}, an environment of your own")
    elif not stamp.exists():
        yield wrong(f"{path.parent.parent}: was never finished", "make install")
    elif stamp.read_text() != fingerprint(requirements):
        yield wrong(f"{path.parent.parent}: is not what {requirements} lists", "make install")
    else:
        yield ok(str(path))


@check("programs.locked")
def locked(patient: Patient) -> Iterator[Finding]:
    """What is installed is what uv.lock names: results are recorded under it."""
    lock = HOME / "uv.lock"
    if not lock.is_file():
        return
    from packaging.utils import canonicalize_name  # not on a machine that only brings recordings

    wanted: dict[str, set[str]] = defaultdict(set)  # one for each Python that it is locked for
    for each in tomllib.loads(lock.read_text())["package"]:
        if "version" in each and "registry" in each["source"]:
            wanted[each["name"]].add(each["version"])
    installed: dict[str, str] = {
        canonicalize_name(each.metadata["Name"]): each.version for each in distributions() if each.metadata["Name"]
    }
    both = sorted(wanted.keys() & installed.keys())
    other = [f"{name} {installed[name]} (locked: {' or '.join(sorted(wanted[name]))})" for name in both
             if installed[name] not in wanted[name]]  # fmt: skip
    if other:
        more = f" and {len(other) - _SHOWN} more" if len(other) > _SHOWN else ""
        yield wrong(f"not the locked releases: {', '.join(other[:_SHOWN])}{more}", "make install")
    else:
        yield ok(f"{len(both)} packages as locked")


@check("programs.video")
def video(patient: Patient) -> Iterator[Finding]:
    """Videos can be decoded by the libraries that came with PyAV, whatever ffmpeg the machine has."""
    code = (
        "import av, json, os; "
        "print(json.dumps([av.__version__, sorted(av.codecs_available), os.path.dirname(av.__file__)]))"
    )
    rc, said = in_python(code)
    if rc != 0:
        yield wrong(f"PyAV cannot be imported: {said[-300:]}", "make install")
        return
    version, codecs, folder = json.loads(said.splitlines()[-1])
    if missing := [name for name in _DECODERS if name not in codecs]:
        yield wrong(f"PyAV {version} cannot decode {', '.join(missing)}", "install av from its wheel: make install")
    elif not list(Path(folder).parent.glob("av.libs/libavcodec*")):
        yield warning(f"PyAV {version} uses this machine's ffmpeg, not the one that it was tested with",
                      "install av from its wheel: make install")  # fmt: skip
    else:
        yield ok(f"PyAV {version} with its own decoders")


@check("programs.executable")
def executable(patient: Patient) -> Iterator[Finding]:
    """The disk of our programs lets them run."""
    folder = Path(sys.executable).parent
    if os.statvfs(folder).f_flag & os.ST_NOEXEC:
        yield unknown(f"{folder}: is mounted noexec, and yet this runs", "mount it with exec")
