"""The documentation is tested: every command is in the README, every file it names exists."""

from __future__ import annotations

import json
import re

import yaml
from typer.main import get_command

from tasks.cli import app
from tasks.config import HOME

README = (HOME / "README.md").read_text()


def _commands() -> list[str]:
    group = get_command(app)
    return sorted(group.commands)  # type: ignore[attr-defined]


def test_every_command_is_in_the_readme() -> None:
    for name in _commands():
        assert re.search(rf"`{name}\b", README), f"README.md does not mention `nightscope {name}`"


def test_every_command_and_option_explains_itself() -> None:
    def walk(command, path):
        assert command.help or command.callback.__doc__, path
        for param in command.params:
            if getattr(param, "opts", None) and param.name != "help" and param.param_type_name == "option":
                assert param.help, f"{path} {param.opts}"
        for name, child in getattr(command, "commands", {}).items():
            walk(child, f"{path} {name}")

    for name, command in get_command(app).commands.items():  # type: ignore[attr-defined]
        walk(command, name)


def test_every_folder_of_the_tree_exists_and_every_room_is_in_the_tree() -> None:
    tree = README.split("## The house")[1].split("## Licence")[0]
    rooms = set(re.findall(r"^      (\w+)/", tree, re.M))
    real = {path.name for path in (HOME / "tasks").iterdir() if path.is_dir() and (path / "__init__.py").exists()}
    assert rooms == real


def test_pictures_of_the_readme_exist() -> None:
    for path in re.findall(r"!\[[^\]]*\]\(([^)]+)\)", README):
        assert (HOME / path).is_file(), path


def test_the_line_shown_is_the_line_shipped() -> None:
    shown = yaml.safe_load(README.split("```yaml")[1].split("```")[0])
    shipped = yaml.safe_load((HOME / "dags/lines/sperm-detector.yaml").read_text())
    assert {key: shipped[key] for key in shown} == shown


def test_the_makefile_has_the_readmes_two_commands() -> None:
    makefile = (HOME / "Makefile").read_text()
    assert re.search(r"^demo: ", makefile, re.M) and re.search(r"^test: ", makefile, re.M)


def test_every_test_that_security_names_exists() -> None:
    named = set(re.findall(r"`(tests/[\w/]+\.py)`", (HOME / "SECURITY.md").read_text()))
    assert len(named) > 10
    assert not [path for path in named if not (HOME / path).is_file()]


def test_the_policies_open_to_each_key_its_own_buckets_only() -> None:
    policies = json.loads((HOME / "docs/policies.json").read_text())
    own = {"lake": {"lake", "frames"}, "landing": {"landing"}, "mlflow": {"mlflow"}, "frames": {"frames"}}
    assert set(policies) == set(own)
    for key, policy in policies.items():
        places = re.findall(r"arn:aws:s3:::([^\"/]+)", json.dumps(policy))
        assert set(places) == own[key]
        assert "*" not in re.findall(r"s3:[\w*]+", json.dumps(policy))
    assert "Put" not in json.dumps(policies["frames"]) and "Delete" not in json.dumps(policies["landing"])
