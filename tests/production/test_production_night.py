"""A night on all of docker/compose.yaml, one of its two training workers killed by -9 in the middle of training.

Each container's command runs as a process, in namespaces, as its user, on its read-only root, with the environment that
docker-compose computes from one environment file. `make production-test`; needs root and Debian's programs
(`make production-services`). What is not proven: that the images build, and limits of memory, processors and processes.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from tasks.config import HOME
from tasks.synthetic import make_recordings
from tasks.synthetic.labels import write_voc
from tests.production.compose import DOMAIN, make_env, parse_env
from tests.production.stack import CLIENT, Production
from tests.waiting import until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1800)]

LINE, DAG = "night-watch", "retrain_night_watch"
TRAINING = "train_challenger"
UP_S, RETRY_S = 600, 30


@dataclass
class Site:
    """The installation, and what a person outside has of it."""

    stack: Production
    folder: Path
    values: dict[str, str] = field(repr=False)

    def outside(self, *words: str, **variables: str) -> list[str]:
        """A command line that runs on the person's machine."""
        inner = 'mount --bind "$1" /etc/hosts && shift && exec "$@"'
        environment = {
            "SSL_CERT_FILE": str(self.folder / "certs" / "ca.pem"),
            "NIGHTSCOPE_STATE_DIR": str(self.folder / "away"),
        }
        given = [f"{name}={value}" for name, value in (environment | variables).items()]
        spaces = ["ip", "netns", "exec", self.stack.wires.namespace(CLIENT), "unshare", "--mount"]
        return [*spaces, "sh", "-c", inner, "sh", str(self.folder / "hosts"), "env", *given, *words]

    def nightscope(self, container: str, *words: str) -> Any:
        """What a `nightscope` command in a container answers, as JSON."""
        done = self.stack.containers[container].execute("nightscope", *words, "--json", patience_s=300)
        assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
        return json.loads(done.stdout)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    assert os.getuid() == 0, "`make production-test` makes network namespaces, and so needs root"
    folder = tmp_path_factory.mktemp("production")
    for parent in (folder, *folder.parents[:2]):  # services run as other users
        parent.chmod(0o755)
    (folder / "lines").mkdir()
    (folder / "lines" / f"{LINE}.yaml").write_text(yaml.safe_dump(line()))
    changes = {
        "LINES_DIR": str(folder / "lines"),
        "NIGHTSCOPE_DEVICES": "cpu",
        "ACCELERATOR": "cpu",
        "WORKER_CONCURRENCY": "2",
        "API_SERVER_WORKERS": "1",
        "MLFLOW_WORKERS": "1",
    }
    env = make_env(folder, changes)
    stack = Production(folder, env, f"nst{os.getpid()}", {"worker-gpu": 2})
    (folder / "hosts").write_text(f"127.0.0.1 localhost\n{stack.outside}")
    try:
        took = stack.up(UP_S)
        print({name: round(seconds, 1) for name, seconds in sorted(took.items(), key=lambda pair: pair[1])})
        yield Site(stack, folder, parse_env(env.read_text()))
    finally:
        stack.down()


def line() -> dict[str, Any]:
    """A line that trains for some seconds, learns little, and whose gates let that pass."""
    recipe = {
        "name": "detection-from-scratch",
        "model": "p3-tiny.yaml",
        "imgsz": 64,
        "batch": 4,
        "nbs": 4,
        "epochs": 12,
    }
    return {
        "line": LINE, "kind": "detection", "classes": ["sperm", "impurity"], "schedule": None,
        "minimums": {"recordings": 3, "labels": {"sperm": 3}},
        "recipe": recipe | {"min_steps": 2, "plots": False, "seed": 3},
        "evaluation": {"resamples": 100, "min_clusters": 2},
        "gates": [{"metric": "AP50", "at_least": 0.0}],
    }  # fmt: skip


def bring(site: Site) -> None:
    """Recordings through the proxy, with the landing bucket's key alone; labels from within the installation."""
    folder = site.folder / "brought"
    made = make_recordings(folder / "recordings", count=3, first=1, seed=1, frames=24, impurities_per_frame=(6, 9))
    landing = {
        "NIGHTSCOPE_S3__ENDPOINT": f"https://landing.{DOMAIN}",
        "NIGHTSCOPE_S3__ACCESS_KEY": site.values["NIGHTSCOPE_S3__LANDING__ACCESS_KEY"],
        "NIGHTSCOPE_S3__SECRET_KEY": site.values["NIGHTSCOPE_S3__LANDING__SECRET_KEY"],
    }
    words = [str(Path(sys.executable).parent / "nightscope"), "add", *(str(each.path) for each in made)]
    done = subprocess.run(
        site.outside(*words, "--study", "e2e", **landing), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    labels = site.folder / "volumes" / "state" / "brought-labels"  # where the container sees it
    for recording in made:
        write_voc(recording, labels, every=6)
    subprocess.run(["chown", "-R", "10001:10001", labels], check=True)
    words = ("--line", LINE, "--format", "voc", "--frame-base", "0")
    imported = site.nightscope("worker", "labels", "import", "/var/lib/nightscope/brought-labels", *words)
    assert imported["annotations"] == 12


PORTS = {
    "postgres": 5432, "redis": 6379, "mlflow": 5000, "label-studio": 8080, "airflow-api-server": 8080, "s3": 9000,
    "s3-landing": 9000, "s3-mlflow": 9000, "s3-frames": 9000,
}  # fmt: skip


def test_only_the_proxy_is_reached_from_outside(site: Site) -> None:
    asks = (sys.executable, "-m", "tests.production.client", "reaches")
    for name, port in PORTS.items():
        inside = site.stack.containers["worker"].execute("python", *asks[1:], name, str(port))
        assert inside.returncode == 0, f"{name}: {inside.stderr}"
        away = site.outside(*asks, site.stack.wires.address(name), str(port))
        assert subprocess.run(away, cwd=HOME, check=False).returncode == 1, name
    door = site.outside(*asks, f"airflow.{DOMAIN}", "443")
    assert subprocess.run(door, cwd=HOME, check=False).returncode == 0


def test_how_workers_report_is_for_the_inside_alone(site: Site) -> None:
    for path, expected in {"/execution/health": "404", "/api/v2/monitor/health": "200", "/api/v2/dags": "401"}.items():
        ask = (sys.executable, "-m", "tests.production.client", "status", f"https://airflow.{DOMAIN}{path}")
        done = subprocess.run(site.outside(*ask), cwd=HOME, capture_output=True, text=True, check=False)
        assert done.stdout.strip() == expected, path + done.stderr[-500:]


def test_a_night_whose_training_worker_is_killed_ends_with_a_promotion(site: Site) -> None:
    bring(site)
    airflow = {
        "NIGHTSCOPE_AIRFLOW__URL": f"https://airflow.{DOMAIN}",
        "NIGHTSCOPE_AIRFLOW__PASSWORD": site.values["NIGHTSCOPE_AIRFLOW__PASSWORD"],
    }
    command = site.outside(sys.executable, "-m", "tests.production.client", "follow", DAG, **airflow)
    with subprocess.Popen(command, cwd=HOME, stdout=subprocess.PIPE, text=True) as player:
        assert player.stdout is not None
        killed, killed_at, again_s, states = "", 0.0, 0.0, []
        for text in player.stdout:
            states.append(json.loads(text))
            state, try_number, host = states[-1].get(TRAINING, (None, 0, ""))
            if state == "running" and try_number == 1 and not killed:
                until(lambda: list(site.folder.glob("volumes/state/work/**/last.pt")), 300)
                site.stack.containers[host].kill()
                killed, killed_at = host, time.monotonic()
            if state == "running" and try_number == 2 and not again_s:
                again_s = time.monotonic() - killed_at
                assert host != killed
    ended = states[-1]
    assert ended["state"] == "success", (ended, states[-2])
    assert killed and 0 < again_s <= RETRY_S, f"tried again after {again_s:.0f} s"
    print(f"{killed} was killed, and its training went on elsewhere after {again_s:.1f} s")
    assert {each[0] for each in states[-2].values()} == {"success"}, states[-2]

    assert site.nightscope("worker", "champion", LINE)["model_version"] == "1", "trained once, promoted once"
    verdicts = site.nightscope("worker", "verdicts", LINE)
    assert [each["verdict"] for each in verdicts] == ["promote"]
    site.nightscope("worker", "verify", LINE)
