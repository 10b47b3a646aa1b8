"""Which line an order is about, when nobody says so."""

from __future__ import annotations

import pytest
from nightscope_airflow import orders

from tasks.errors import ConfigError


def _installed(monkeypatch, *names: str) -> None:
    monkeypatch.setattr(orders, "line_names", lambda: list(names))


def test_the_only_line_is_meant_and_one_of_several_must_be_chosen(monkeypatch) -> None:
    _installed(monkeypatch, "sperm-detector")
    assert orders.line_field().value == "sperm-detector"
    _installed(monkeypatch, "oocyte-detector", "sperm-detector")
    field = orders.line_field()
    assert field.value is None and field.resolve() is None, "pressing Trigger must not need it"
    for line, told in (("sperm-detector", None), (None, "one of: oocyte-detector, sperm-detector")):
        monkeypatch.setattr(orders, "get_current_context", lambda line=line: {"params": {"line": line}})
        if told is None:
            assert orders.chosen_line() == line
        else:
            with pytest.raises(ConfigError, match="none was chosen") as caught:
                orders.chosen_line()
            assert caught.value.expected == told
