"""What stands in for each image of compose.yaml on a machine without a container engine: this machine's programs.

Images of ours: the checkout and its environment, with the variables of the Dockerfile; where the image has no torch,
the packages that it leaves out are hidden. Images of others: Debian's programs, and what the image's entrypoint does.
"""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import distributions
from pathlib import Path

from tasks.config import HOME
from tests.production.compose import DOCKER

SITE = next(Path(path) for path in sys.path if path.endswith("site-packages"))

# As docker-entrypoint.sh of the official image, of whose cares ours are a few: https://github.com/docker-library/postgres
_POSTGRES = """
if [ ! -s "$PGDATA/PG_VERSION" ]; then
  printf %s "$POSTGRES_PASSWORD" > /tmp/password
  initdb --username=postgres --pwfile=/tmp/password $POSTGRES_INITDB_ARGS --pgdata="$PGDATA" > /dev/null
  rm /tmp/password
  printf 'host all all all scram-sha-256\\n' >> "$PGDATA/pg_hba.conf"
fi
exec "$@"
"""


@dataclass(frozen=True)
class StandIn:
    """One image.

    Attributes:
        path: Where its programs are.
        uid, user: Whom its passwd names beside root.
        entrypoint: Comes before the command, unless compose.yaml names another.
        environment: Of every process in it.
        hidden: Entries of site-packages that it has not.
    """

    path: str
    uid: int = 10001
    user: str = "nightscope"
    entrypoint: tuple[str, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)
    hidden: frozenset[str] = frozenset()


def stand_in(image: str) -> StandIn:
    """What stands in for an image, by its name without the tag."""
    venv = "/opt/nightscope/.venv/bin"
    if image == "nightscope/airflow":
        return StandIn(venv, environment=_variables("airflow"), hidden=left_out())
    if image == "nightscope/train":
        return StandIn(venv, environment=_variables("train"))
    if image == "nightscope/label-studio":
        return StandIn("/opt/label-studio/.venv/bin", environment=_variables("label-studio"))
    return {
        "postgres": StandIn(str(postgres()), 999, "postgres", ("sh", "-euc", _POSTGRES, "sh")),
        "redis": StandIn("/usr/bin", 999, "redis"),
        "caddy": StandIn("/usr/bin", 10001, "caddy"),
        "rclone/rclone": StandIn(venv, 10001, "rclone"),
    }[image]


def postgres() -> Path:
    """Where Debian keeps PostgreSQL's programs."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    assert found, "PostgreSQL is not installed: run `make production-services`"
    return found[-1]


def _variables(name: str) -> dict[str, str]:
    """What the last stage of a Dockerfile sets."""
    last = (DOCKER / f"Dockerfile.{name}").read_text().rpartition("\nFROM ")[2].replace("\\\n", " ")
    lines = re.findall(r"^ENV (.*)$", last, re.MULTILINE)
    pairs = [pair.partition("=") for line in lines for pair in line.split()]
    return {key: value for key, _, value in pairs if key != "PATH"}


@cache
def left_out() -> frozenset[str]:
    """Entries of site-packages that Dockerfile.airflow does not install, by the same export of the lock."""
    whole, light = _exported(()), _exported((DOCKER / "without-torch.txt").read_text().split())
    assert len(whole) - len(light) > 20
    gone, kept = set(), set()
    for each in distributions(path=[str(SITE)]):
        entries = {Path(str(file)).parts[0] for file in each.files or () if ".." not in str(file)}
        name = re.sub(r"[-_.]+", "-", each.metadata["Name"]).lower()
        (gone if name in whole - light else kept).update(entries)
    return frozenset(gone - kept)


def _exported(pruned: list[str] | tuple[str, ...]) -> set[str]:
    command = [HOME / ".uv/bin/uv", "export", "--frozen", "--quiet", "--no-default-groups"]
    words = [
        "--extra=all",
        "--extra=production",
        "--no-emit-project",
        "--no-hashes",
        *(f"--prune={name}" for name in pruned),
    ]
    done = subprocess.run([*command, *words], cwd=HOME, capture_output=True, text=True, check=True)
    return set(re.findall(r"^([a-z0-9-]+)==", done.stdout, re.MULTILINE))
