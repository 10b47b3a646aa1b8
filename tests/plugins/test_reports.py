"""The report's page: what is sent with it, whoever asks and whatever comes of it."""

from __future__ import annotations

import pytest
from airflow.api_fastapi.core_api.security import get_user
from fastapi.testclient import TestClient
from nightscope_airflow.views.reports import app

from tasks import operations
from tasks.errors import NotFound, StorageUnavailable

PAGE = "/verdicts/abc123/report"


@pytest.fixture
def signed_in(monkeypatch: pytest.MonkeyPatch) -> TestClient:
    monkeypatch.setitem(app.dependency_overrides, get_user, lambda: object())
    return TestClient(app, raise_server_exceptions=False)


def _raise(error: Exception) -> None:
    raise error


@pytest.mark.parametrize(
    ("made", "status"),
    [
        (lambda *_: "<html><script>alert(1)</script></html>", 200),
        (lambda *_: _raise(NotFound("no such verdict")), 404),
        (lambda *_: _raise(StorageUnavailable("the lake")), 503),
        (lambda *_: _raise(RuntimeError("nobody foresaw this")), 500),
    ],
)
def test_every_answer_is_guarded(signed_in, monkeypatch, made, status) -> None:
    monkeypatch.setattr(operations, "report_of", made)
    _guarded(signed_in.get(PAGE), status)


def test_a_foreign_path_and_a_stranger_are_guarded_too(signed_in, monkeypatch) -> None:
    _guarded(signed_in.get("/nowhere"), 404)
    _guarded(signed_in.post(PAGE), 405)
    monkeypatch.setitem(app.dependency_overrides, get_user, lambda: _raise(_unauthorized()))
    _guarded(signed_in.get(PAGE), 401)


def _unauthorized() -> Exception:
    from fastapi import HTTPException

    return HTTPException(401, "who are you?")


def _guarded(answer, status: int) -> None:
    assert answer.status_code == status, answer.text
    policy = dict(part.strip().partition(" ")[::2] for part in answer.headers["content-security-policy"].split(";"))
    assert policy["default-src"] == "'none'" and "script-src" not in policy, "no script runs, whatever data smuggled in"
    assert policy["frame-ancestors"] == "'self'" and policy["form-action"] == "'none'"
    assert policy["img-src"] == "data:", "and no picture calls out"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["cache-control"] == "no-store"
    assert "Traceback" not in answer.text
