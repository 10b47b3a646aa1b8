"""Which line an order is about, when nobody says so."""

from __future__ import annotations

import pytest
from nightscope_airflow import manual_runs

from tasks.errors import ConfigError


def _installed(monkeypatch, *names: str) -> None:
    monkeypatch.setattr(manual_runs, "line_names", lambda: list(names))


def test_the_only_line_is_meant_and_one_of_several_must_be_chosen(monkeypatch) -> None:
    _installed(monkeypatch, "sperm-detector")
    assert manual_runs.line_field().value == "sperm-detector"
    _installed(monkeypatch, "oocyte-detector", "sperm-detector")
    field = manual_runs.line_field()
    assert field.value is None and field.resolve() is None, "pressing Trigger must not need it"
    for line, told in (("sperm-detector", None), (None, "one of: oocyte-detector, sperm-detector")):
        monkeypatch.setattr(manual_runs, "get_current_context", lambda line=line: {"params": {"line": line}})
        if told is None:
            assert manual_runs.chosen_line() == line
        else:
            with pytest.raises(ConfigError, match="none was chosen") as caught:
                manual_runs.chosen_line()
            assert caught.value.expected == told
