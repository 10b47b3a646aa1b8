"""Whether a container's service does its work; exits with 1 and the reason if not. Nothing but Python, and Celery.

python healthcheck.py http URL            answers with less than 400
python healthcheck.py airflow URL PART    Airflow's health report at URL calls this part of it healthy
python healthcheck.py celery              this container's Celery worker answers through the broker
"""

from __future__ import annotations

import json
import os
import socket
import sys
import urllib.request

PATIENCE_S = 8


def get(url: str) -> bytes:
    """The answer's body; raises what urllib raises."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url, timeout=PATIENCE_S) as answer:
        return bytes(answer.read())


def airflow(url: str, part: str) -> None:
    """Raises if the part (`triggerer`, `dag_processor`, `scheduler`) is not healthy."""
    status = (json.loads(get(url)).get(part) or {}).get("status")
    if status != "healthy":
        raise RuntimeError(f"{part} is {status}")


def celery() -> None:
    """Raises if this container's worker does not answer a ping that goes through Redis, as its work does."""
    from celery import Celery

    name = f"celery@{socket.gethostname()}"
    with Celery(broker=os.environ["AIRFLOW__CELERY__BROKER_URL"]) as app:
        if not app.control.ping([name], timeout=PATIENCE_S):
            raise RuntimeError(f"{name} does not answer")


def main(words: list[str]) -> int:
    """Check, and say on stderr what is wrong."""
    try:
        {"http": get, "airflow": airflow, "celery": celery}[words[0]](*words[1:])  # type: ignore[operator]
    except Exception as error:  # whatever it is, this container is not well
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
