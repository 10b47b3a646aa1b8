"""Name the person behind a command or a run, by where the name comes from. No environment variable can set it.

os:1000/alice    the operating system's user, by uid, of whoever runs a command
airflow:eva      whom Airflow's API server has authenticated, of what came through Airflow
"""

from __future__ import annotations

import os
import pwd

from tasks.escaping import plain_text

_LONGEST = 200


def os_user() -> str:
    """Name the user of this process. USER, LOGNAME and the like are anybody's to set, and are not asked."""
    uid = os.getuid()
    try:
        name = plain_text(pwd.getpwuid(uid).pw_name, _LONGEST)
    except KeyError:  # a container without a passwd entry
        return f"os:{uid}"
    return f"os:{uid}/{name}"


def airflow_user(name: str | None) -> str:
    """Name a user as Airflow does; empty where Airflow names none (the clock)."""
    clean = plain_text(name or "", _LONGEST)
    return f"airflow:{clean}" if clean else ""
