from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import httpx
import pytest
from pydantic import SecretStr

from tasks.config import LabelStudioSettings
from tasks.errors import ConfigError, ServiceUnavailable
from tasks.labeling.client import LabelStudio

TOKEN = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[LabelStudio, list[httpx.Request]]]:
    """Make a client whose server answers as told, and a list of what it was asked."""
    monkeypatch.setattr("time.sleep", lambda _: None)

    def serve(*answers: httpx.Response | Exception) -> tuple[LabelStudio, list[httpx.Request]]:
        asked: list[httpx.Request] = []

        def answer(request: httpx.Request) -> httpx.Response:
            asked.append(request)
            told = answers[min(len(asked), len(answers)) - 1]
            if isinstance(told, Exception):
                raise told
            return told

        client = LabelStudio(LabelStudioSettings(url="http://ls.test/", token=SecretStr(TOKEN)))
        client._http = httpx.Client(base_url=client.url, transport=httpx.MockTransport(answer))
        return client, asked

    return serve


def test_reading_is_tried_again(served: Callable[..., tuple[LabelStudio, list[httpx.Request]]]) -> None:
    client, asked = served(httpx.Response(502), httpx.ConnectError("refused"), httpx.Response(200, json={"id": 3}))
    assert client.user_id() == 3
    assert len(asked) == 3
    assert asked[0].headers["Authorization"] == f"Token {TOKEN}"


def test_a_server_error_is_worth_another_night(served: Callable[..., tuple[LabelStudio, list[httpx.Request]]]) -> None:
    client, asked = served(httpx.Response(500, json={"detail": "database is locked"}))
    with pytest.raises(ServiceUnavailable, match="database is locked"):
        client.user_names()
    assert len(asked) == 3


def test_what_makes_things_is_sent_once(served: Callable[..., tuple[LabelStudio, list[httpx.Request]]]) -> None:
    client, asked = served(httpx.ReadTimeout("slow"))
    with pytest.raises(ServiceUnavailable, match="ReadTimeout"):
        client.import_tasks(1, [{"data": {}}])
    assert len(asked) == 1


def test_an_annotation_is_sent_again_and_made_once(
    served: Callable[..., tuple[LabelStudio, list[httpx.Request]]],
) -> None:
    client, asked = served(httpx.ReadTimeout("slow"), httpx.Response(409, json={"detail": "unique id"}))
    assert client.create_annotation(1, [], "12345678-1234-5678-1234-567812345678") is False
    assert len(asked) == 2


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_token_is_not_shown(
    served: Callable[..., tuple[LabelStudio, list[httpx.Request]]], status: int
) -> None:
    client, _ = served(httpx.Response(status, json={"detail": "Invalid token."}))
    with pytest.raises(ConfigError, match="refuses our access token") as caught:
        client.user_id()
    assert TOKEN not in str(caught.value)


def test_a_refused_request_says_why(served: Callable[..., tuple[LabelStudio, list[httpx.Request]]]) -> None:
    client, _ = served(httpx.Response(400, json={"validation_errors": {"label_config": ["broken"]}}))
    with pytest.raises(ConfigError, match="broken"):
        client.create_project("a title", "", "<View/>")


def test_somebody_elses_server(served: Callable[..., tuple[LabelStudio, list[httpx.Request]]]) -> None:
    client, _ = served(httpx.Response(200, text="<html>It works!</html>"))
    with pytest.raises(ServiceUnavailable, match="is not JSON"):
        client.user_id()


def test_times_are_asked_for_as_label_studio_reads_them(
    served: Callable[..., tuple[LabelStudio, list[httpx.Request]]],
) -> None:
    client, asked = served(httpx.Response(200, json={"tasks": []}))
    assert list(client.task_heads(7, datetime(2026, 11, 20, 9, 5, tzinfo=UTC))) == []
    assert '"value": "2026-11-20T09:05:00.000000Z"' in asked[0].url.params["query"]
