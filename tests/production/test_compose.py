"""What ships in docker/: read by docker-compose itself, clean by linters, closed, in step with the embedded stack."""

from __future__ import annotations

import json
import re
import stat
import subprocess
from pathlib import Path

import pytest
import yaml
from pydantic import BaseModel

from tasks.config import HOME, Settings, load_lines
from tasks.config.settings import AirflowSettings
from tasks.stack.airflow import COMMON, as_variables
from tasks.stack.services import OFFLINE, QUIET
from tests.production.compose import DOCKER, Service, config, make_env, parse_env, services, tool

pytestmark = pytest.mark.integration

FILES = ("compose.yaml", "compose.gpu.yaml", "compose.hosts.yaml", "compose.worker.yaml")
TEXT = "".join((DOCKER / name).read_text() for name in FILES)
EXAMPLE = (DOCKER / ".env.example").read_text()
OURS_ALONE = {"NIGHTSCOPE_GPU_SLOTS", "NIGHTSCOPE_MLFLOW_AUTH_DATABASE_URI", "NIGHTSCOPE_MLFLOW_READER_PASSWORD"}
"""What containers are told that is no setting of the installation."""


@pytest.fixture(scope="module")
def env(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_env(tmp_path_factory.mktemp("production"))


@pytest.fixture(scope="module")
def table(env: Path) -> dict[str, Service]:
    return services(env)


def used() -> dict[str, str | None]:
    """Variables of compose.yaml -> their default; None where there must be a value."""
    return {name: None if kind == "?" else default for name, kind, default in re.findall(VARIABLE, TEXT)}


VARIABLE = r"\$\{([A-Z0-9_]+):([?-])((?:[^{}]|\$\{[^}]*\})*)\}"
EXPLAINED = r"^(#?)([A-Z][A-Z0-9_]*)=(.*)$"


TOGETHER = [("compose.yaml",),
            ("compose.yaml", "compose.gpu.yaml"), ("compose.yaml", "compose.gpu.yaml", "compose.hosts.yaml"),
            ("compose.worker.yaml", "compose.gpu.yaml")]  # fmt: skip


@pytest.mark.parametrize("files", TOGETHER, ids=lambda files: "+".join(files))
def test_docker_compose_reads_it(env: Path, files: tuple[str, ...]) -> None:
    """The program answers 0 whatever happens: what it prints counts."""
    done = config(env, *files)
    assert not done.stderr and json.loads(done.stdout)["services"], done.stderr


def test_a_missing_secret_is_named(env: Path, tmp_path: Path) -> None:
    lines = [line for line in env.read_text().splitlines() if not line.startswith("REDIS_PASSWORD=")]
    (tmp_path / ".env").write_text("\n".join(lines))
    refused = config(tmp_path / ".env", check=False)
    assert not refused.stdout and "REDIS_PASSWORD is missing a value" in refused.stderr


@pytest.mark.parametrize("path", sorted(DOCKER.glob("Dockerfile.*")), ids=lambda path: path.name)
def test_hadolint_finds_nothing(path: Path) -> None:
    done = subprocess.run([tool("hadolint"), "--no-color", path], capture_output=True, text=True, check=False)
    assert done.returncode == 0 and not done.stdout, done.stdout + done.stderr


def test_compose_lint_finds_what_we_know_of() -> None:
    """CL-0019 wants digests, which nobody can look up offline: images stand by exact tags."""
    command = [tool("compose-lint"), "--format", "json", DOCKER / "compose.yaml"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    findings = json.loads(done.stdout)["findings"]
    assert findings, "the linter read nothing"
    others = {(each["rule_id"], each["service"]) for each in findings if each["rule_id"] != "CL-0019"}
    gives_volumes_away = ("CL-0018", "init-volumes")
    assert others == {gives_volumes_away, ("CL-0026", "worker"), ("CL-0026", "worker-gpu")}, "workers take all CPUs"


def test_images_are_pinned_and_latest_is_none_of_them(table: dict[str, Service]) -> None:
    for service in table.values():
        assert re.fullmatch(r"[a-z./-]+:\d+\.\d+[\w.-]*", service.raw["image"]), service.raw["image"]
    for path in DOCKER.glob("Dockerfile.*"):
        stages = re.findall(r"^FROM (\S+)", path.read_text(), re.MULTILINE)
        assert all(re.fullmatch(r"[a-z./-]+:(\d+\.\d+\.\d+[\w.-]*|\$\{NIGHTSCOPE_VERSION\})", each) for each in stages)


def test_the_version_is_the_packages(table: dict[str, Service]) -> None:
    version = re.search(r'^version = "(.*)"', (HOME / "pyproject.toml").read_text(), re.MULTILINE)
    assert version and table["worker"].raw["image"] == f"nightscope/airflow:{version[1]}"
    label_studio = (DOCKER / "label-studio/requirements.in").read_text().strip().replace("label-studio==", "")
    assert table["label-studio"].raw["image"] == f"nightscope/label-studio:{label_studio}"


def test_every_container_is_closed(table: dict[str, Service]) -> None:
    for name, service in table.items():
        raw = service.raw
        assert raw["read_only"] and raw["cap_drop"] == ["ALL"], name
        assert raw["security_opt"] == ["no-new-privileges:true"], name
        assert int(raw["mem_limit"]) > 0 and raw["pids_limit"] > 0, name
        assert "privileged" not in raw and "docker.sock" not in json.dumps(raw), name
        assert (raw["user"] == "0:0") == (name == "init-volumes"), f"{name}: root"
        assert service.once or service.health, f"{name}: no health check"
    assert table["init-volumes"].raw["network_mode"] == "none"


def test_only_the_proxy_publishes_and_on_loopback_unless_asked(table: dict[str, Service]) -> None:
    published = {name: each.raw["ports"] for name, each in table.items() if each.raw.get("ports")}
    assert set(published) == {"proxy"}
    assert [(port["host_ip"], port["target"]) for port in published["proxy"]] == [("127.0.0.1", 443)]
    inside = {name for name, each in table.items() if set(each.raw.get("networks") or {}) - {"inside"}}
    assert inside == {"proxy"}


def test_a_further_server_runs_a_worker_and_nothing_else(env: Path, table: dict[str, Service]) -> None:
    there = services(env, "compose.worker.yaml")
    assert set(there) == {"init-volumes", "worker-gpu"}
    assert there["worker-gpu"].environment == table["worker-gpu"].environment
    assert there["worker-gpu"].command == table["worker-gpu"].command
    published = services(env, "compose.yaml", "compose.hosts.yaml")
    first = {name: each.raw["ports"][0] for name, each in published.items() if each.raw.get("ports")}
    del first["proxy"]
    assert {entry.partition("=")[0] for entry in there["worker-gpu"].raw["extra_hosts"]} == set(first)
    assert {port["host_ip"] for port in first.values()} == {"127.0.0.1"}, "nobody else reaches them unless asked"


def test_every_variable_is_explained_and_none_is_unused() -> None:
    explained = {name: value for _, name, value in re.findall(EXPLAINED, EXAMPLE, re.MULTILINE)}
    assert set(explained) - {"COMPOSE_PROFILES"} == set(used())
    for name, default in used().items():
        shown = re.search(rf"^(#?){name}=(.*)$", EXAMPLE, re.MULTILINE)
        assert shown
        if default is None:
            assert not shown[1] and shown[2], f"{name} has no default: .env.example must give it a value"
        elif "${" not in default:
            assert shown[2] == default, f"{name}: .env.example shows {shown[2]!r}, compose.yaml has {default!r}"
    assert not re.search(r"\$\{[A-Z0-9_]+\}", TEXT), "a variable without default and without `?` may be empty unseen"


def test_every_variable_has_words_before_it() -> None:
    """A comment above it, or above the group of names that it stands in."""
    words = False
    for line in EXAMPLE.splitlines():
        if re.match(EXPLAINED, line):
            assert words, f"{line}: no word about it"
        else:
            words = line.startswith("# ") and not line.startswith("# ----")


def test_fresh_secrets_are_long_and_each_is_its_own(env: Path) -> None:
    assert stat.S_IMODE(env.stat().st_mode) == 0o600
    secrets = [
        value for value in parse_env(env.read_text()).values() if re.fullmatch(r"[0-9a-f]{20,}|[\w-]{43}=", value)
    ]
    assert len(secrets) == EXAMPLE.count("=make-") == len(set(secrets))
    assert "make-" not in "".join(secrets) and "=make-" not in env.read_text()
    assert stat.S_IMODE((env.parent / "certs" / "key.pem").stat().st_mode) == 0o600


def test_no_secret_stands_on_a_command_line_and_each_only_where_it_is_needed(
    env: Path, table: dict[str, Service]
) -> None:
    values = parse_env(env.read_text())
    secrets = {name: values[name] for name in re.findall(r"^(\w+)=make-", EXAMPLE, re.MULTILINE)}
    for service in table.values():
        words = json.dumps([service.entrypoint, service.command, service.health])
        assert not [name for name, value in secrets.items() if value in words], service.name
    holders = {
        name: {each.name for each in table.values() if value in json.dumps(each.environment)}
        for name, value in secrets.items()
    }
    assert all(holders.values()), holders
    workers = {"worker", "worker-gpu"}
    assert not holders["AIRFLOW_DB_PASSWORD"] & workers, "what trains must not reach Airflow's database"
    assert holders["POSTGRES_PASSWORD"] == {"postgres", "init-databases"}
    assert holders["S3_FRAMES_SECRET_KEY"] == {"s3-frames", "label-studio"}
    assert holders["S3_MLFLOW_SECRET_KEY"] == {"s3-mlflow", "mlflow"}
    assert not holders["NIGHTSCOPE_S3__SECRET_KEY"] & {"mlflow", "label-studio", "proxy", "s3-landing"}


def _settings(model: type[BaseModel], prefix: str) -> set[str]:
    names = set()
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            names |= _settings(kind, f"{prefix}{name.upper()}__")
        names.add(f"{prefix}{name.upper()}")
    return names


def test_our_variables_are_settings_that_exist(table: dict[str, Service]) -> None:
    given = {name for each in table.values() for name in each.environment if name.startswith("NIGHTSCOPE_")}
    assert given - OURS_ALONE <= _settings(Settings, "NIGHTSCOPE_")
    assert "NIGHTSCOPE_AIRFLOW__USERS" in given and AirflowSettings(users="ana:op").people == {"ana": "op"}


def test_what_embedded_and_production_share_is_the_same(table: dict[str, Service]) -> None:
    airflow = [each for each in table.values() if each.name.startswith("airflow-") or each.name.startswith("worker")]
    assert len(airflow) == 6
    for service in (*airflow, table["init-airflow"]):
        assert as_variables(COMMON).items() <= service.environment.items(), service.name
    for service in (*airflow, table["mlflow"], table["label-studio"]):
        assert QUIET.items() <= service.environment.items(), service.name
    wanted = {**OFFLINE, "DJANGO_DB": "default"}  # on PostgreSQL
    assert wanted.items() <= table["label-studio"].environment.items()


def test_redis_gives_no_training_to_a_second_worker(table: dict[str, Service]) -> None:
    longest_h = max(line.max_training_h for line in load_lines(HOME / "dags" / "lines"))
    name = "AIRFLOW__CELERY_BROKER_TRANSPORT_OPTIONS__VISIBILITY_TIMEOUT"
    for service in ("worker", "worker-gpu", "airflow-scheduler"):
        assert int(table[service].environment[name]) > 3600 * max(longest_h, 12), service


def test_each_queue_has_its_worker(table: dict[str, Service]) -> None:
    queues = {name: each.command[-1] for name, each in table.items() if each.command and "--queues" in each.command}
    assert queues == {"worker": "default", "worker-gpu": "gpu"}


def test_kubernetes_has_the_same_settings_and_queues(table: dict[str, Service]) -> None:
    values = yaml.safe_load((DOCKER / "kubernetes/values.yaml").read_text())
    given = {each["name"]: each["value"] for each in values["env"]}
    assert as_variables(COMMON).items() <= given.items()
    assert all(table["worker"].environment[name] == value for name, value in given.items() if "CELERY" in name)
    assert {each["queue"] for each in values["workers"]["celery"]["sets"]} == {"default", "gpu"}
    assert values["workers"]["safeToEvict"] is False
    assert f"apache-airflow=={values['airflowVersion']}" in (HOME / "pyproject.toml").read_text()
    assert table["worker-gpu"].raw["image"] == f"{values['defaultAirflowRepository']}:{values['defaultAirflowTag']}"


def test_what_the_torch_free_image_leaves_out_is_in_the_lock() -> None:
    locked = set(re.findall(r'^name = "(.*)"', (HOME / "uv.lock").read_text(), re.MULTILINE))
    pruned = (DOCKER / "without-torch.txt").read_text().split()
    assert "torch" in pruned and set(pruned) <= locked
