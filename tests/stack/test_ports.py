"""Ports: the preferred one, else another, then the same again."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from tasks.errors import StackError
from tasks.stack import ports
from tasks.stack.layout import Layout
from tasks.stack.ports import Choice

PREFERRED = {"s3": 9000, "mlflow": 5500}


def test_takes_the_preferred_ports_when_they_are_free() -> None:
    chosen = ports.choose(["s3", "mlflow"], {}, preferred=PREFERRED, usable=lambda port: True)

    assert chosen == {"s3": Choice(9000), "mlflow": Choice(5500)}


def test_takes_the_next_port_when_one_is_taken_and_says_which_it_replaces() -> None:
    chosen = ports.choose(["s3"], {}, preferred=PREFERRED, usable=lambda port: port > 9001)

    assert chosen["s3"] == Choice(9002, instead_of=9000)


def test_takes_the_port_of_the_last_start_again() -> None:
    chosen = ports.choose(["s3"], {"s3": 9010}, preferred=PREFERRED, usable=lambda port: True)

    assert chosen["s3"] == Choice(9010)


def test_looks_from_the_preferred_port_when_the_remembered_one_is_taken() -> None:
    chosen = ports.choose(["s3"], {"s3": 9010}, preferred=PREFERRED, usable=lambda port: port not in (9010, 9000))

    assert chosen["s3"] == Choice(9001, instead_of=9010)


def test_gives_no_port_twice() -> None:
    chosen = ports.choose(["s3", "mlflow"], {"mlflow": 9000}, preferred=PREFERRED, usable=lambda port: True)

    assert chosen["s3"].port == 9000
    assert chosen["mlflow"].port != 9000


def test_gives_any_free_port_where_none_is_preferred() -> None:
    chosen = ports.choose(["s3", "mlflow"], {}, preferred={"s3": 0, "mlflow": 0})

    assert ports.is_free(chosen["s3"].port)
    assert chosen["s3"].instead_of is None
    assert chosen["s3"].port != chosen["mlflow"].port


def test_a_port_of_no_preference_is_none_that_an_outgoing_connection_may_be_lent() -> None:
    first, last = map(int, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
    assert all(port < first or port > last for port in (ports.any_port() for _ in range(50)))


def test_a_port_that_was_given_already_is_not_given_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "is_free", lambda port: True)
    monkeypatch.setattr(ports, "_LASTING", range(20_000, 20_200))
    assert ports.any_port(set(range(20_000, 20_199))) == 20_199
    with pytest.raises(StackError, match="no free port found from 20000 to 20199"):
        ports.any_port(range(20_000, 20_200))


def test_says_so_when_all_are_taken() -> None:
    with pytest.raises(StackError, match="s3: ports 9000 to 9199 are all taken"):
        ports.choose(["s3"], {}, preferred=PREFERRED, usable=lambda port: False)


@pytest.mark.parametrize("interface", ["127.0.0.1", "0.0.0.0"])
def test_a_port_that_somebody_listens_on_is_not_free(interface: str) -> None:
    with socket.socket() as neighbour:
        neighbour.bind((interface, 0))
        neighbour.listen()
        port = neighbour.getsockname()[1]

        assert not ports.is_free(port)
    assert ports.is_free(port)


def test_remembers_ports(layout: Layout) -> None:
    ports.remember(layout, {"s3": 9002})

    assert ports.remembered(layout) == {"s3": 9002}


@pytest.mark.parametrize("damage", ["", "[]", "{", '{"s3": "x"}'])
def test_forgets_ports_when_the_file_is_damaged(layout: Layout, damage: str) -> None:
    layout.ports_file.write_text(damage)

    assert ports.remembered(layout) == {}
