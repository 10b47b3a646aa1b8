"""supervisord's configuration."""

from __future__ import annotations

import configparser
import json
import shlex
from pathlib import Path

import pytest

from tasks.errors import StackError
from tasks.stack.layout import Layout
from tasks.stack.service import Service
from tasks.stack.supervisor import Supervisor, render_conf, service_text

S3 = Service("s3", "s3", ("rclone", "serve"), {"RCLONE_AUTH_KEY": '"key,very-secret"'}, port=9000, stop_s=5)


def parsed(text: str) -> configparser.RawConfigParser:
    parser = configparser.RawConfigParser()
    parser.read_string(text)
    return parser


def test_services_are_restarted_and_stopped_with_their_children(layout: Layout) -> None:
    program = parsed(render_conf(layout, [S3]))["program:s3"]

    assert program["autorestart"] == "true"
    assert program["autostart"] == "false"
    assert program["stopasgroup"] == program["killasgroup"] == "true"
    assert program["stopwaitsecs"] == "5"


def test_the_control_socket_is_for_its_owner_only(layout: Layout) -> None:
    conf = parsed(render_conf(layout, []))

    assert conf["unix_http_server"]["chmod"] == "0700"
    assert conf["supervisord"]["umask"] == "077"
    assert "inet_http_server" not in conf


def test_holds_no_secret(layout: Layout) -> None:
    assert "very-secret" not in render_conf(layout, [S3])
    assert json.loads(service_text(layout, S3))["environment"]["RCLONE_AUTH_KEY"] == '"key,very-secret"'


def test_logs_are_rotated(layout: Layout) -> None:
    program = parsed(render_conf(layout, [S3]))["program:s3"]

    assert program["stdout_logfile"] == str(layout.log("s3"))
    assert program["stdout_logfile_maxbytes"] == "10MB"


def test_odd_folder_names_survive(tmp_path: Path) -> None:
    odd = Layout.at(tmp_path / "100% mine's")

    command = parsed(render_conf(odd, [S3]))["program:s3"]["command"]

    assert "100%% mine" in command
    assert shlex.split(command.replace("%%", "%"))[-1] == str(odd.service_file("s3"))


def test_a_deep_state_folder_gets_its_socket_elsewhere(tmp_path: Path) -> None:
    deep = Layout.at(tmp_path / ("d" * 100))

    assert len(str(deep.socket)) < 100
    assert deep.socket != Layout.at(tmp_path / ("e" * 100)).socket


def test_service_files_are_private_and_written_before_supervisord_runs(layout: Layout) -> None:
    assert Supervisor(layout).configure([S3]) == []

    assert layout.service_file("s3").stat().st_mode & 0o777 == 0o600
    assert layout.supervisord_conf.stat().st_mode & 0o777 == 0o600


def test_says_that_it_does_not_run(layout: Layout) -> None:
    supervisor = Supervisor(layout)

    assert not supervisor.answers()
    with pytest.raises(StackError, match="does not run"):
        supervisor.processes()
