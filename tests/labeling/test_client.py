from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime

import httpx
import pytest
from pydantic import SecretStr

from tasks.config import LabelStudioSettings
from tasks.errors import ConfigError, ServiceUnavailable
from tasks.labeling.answers import Work, work_of
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


ABOUT = {"id": 1, "completed_by": 5, "updated_at": "2026-01-01T12:00:00Z", "was_cancelled": False}


@pytest.mark.parametrize(
    ("damaged", "reason"),
    [
        (httpx.Response(500, json={"detail": "Out of range float values are not JSON compliant"}), "itself cannot"),
        (httpx.Response(200, content=b'{"tasks": ' + b"[" * 200_000), "not JSON that can be read"),
        (httpx.Response(200, content=b" " * 33 * 2**20), "larger than 32 MiB"),
    ],
    ids=["500", "deep", "large"],
)
def test_one_annotation_that_cannot_be_read_keeps_no_other_from_being_read(
    monkeypatch: pytest.MonkeyPatch, damaged: httpx.Response, reason: str
) -> None:
    """Labeling tasks 1 to 5; the third has two annotations, of which one can be read by nobody."""
    monkeypatch.setattr("time.sleep", lambda _: None)
    good = {**ABOUT, "result": []}

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path.startswith("/api/annotations/"):
            return damaged if request.url.path.endswith("/31/") else httpx.Response(200, json={**good, "id": 32})
        ids = json.loads(request.url.params["query"])["selectedItems"]["included"]
        if "result" in request.url.params["include"] and 3 in ids:
            return damaged
        found = [{"id": n, "data": {}, "annotations": [{**good, "id": n}] if n != 3 else about} for n in ids]
        return httpx.Response(200, json={"tasks": found})

    about = [{**ABOUT, "id": 31}, {**ABOUT, "id": 32}]
    client = LabelStudio(LabelStudioSettings(url="http://ls.test/", token=SecretStr(TOKEN)))
    client._http = httpx.Client(base_url=client.url, transport=httpx.MockTransport(answer))
    found = {task.task_id: task.work for task in client.task_work(1, [1, 2, 3, 4, 5])}
    assert list(found) == [1, 2, 3, 4, 5]
    unreadable = {one.annotation_id: one.unreadable for works in found.values() for one in works if one.unreadable}
    assert list(unreadable) == [31]
    assert reason in str(unreadable[31])
    assert (found[3][0].annotator_id, found[3][0].regions) == (5, [])


def test_a_server_that_is_down_is_no_damaged_annotation(
    served: Callable[..., tuple[LabelStudio, list[httpx.Request]]],
) -> None:
    client, _ = served(httpx.Response(500, json={"detail": "database is locked"}))
    with pytest.raises(ServiceUnavailable, match="labeling task 1 cannot be read"):
        list(client.task_work(1, [1, 2]))


def test_a_refused_labeling_config_is_told_and_no_error(
    served: Callable[..., tuple[LabelStudio, list[httpx.Request]]],
) -> None:
    refusal = {"validation_errors": {"label_config": ["Created annotations are incompatible"]}}
    client, _ = served(httpx.Response(400, json=refusal), httpx.Response(200, json={}))
    assert "incompatible" in str(client.change_label_config(1, "<View/>"))
    assert client.change_label_config(1, "<View/>") is None


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(200, json=[]),
        httpx.Response(200, json={"tasks": [{"id": "seven"}]}),
        httpx.Response(200, json={"tasks": [{"id": 1, "data": {}, "annotations": [{"id": 1}]}]}),
        httpx.Response(200, json={"id": None}),
        httpx.Response(200, json=None),
        httpx.Response(200, content=b"[" * 200_000),
        httpx.TooManyRedirects("round and round"),
    ],
)
def test_every_other_answer_is_one_of_our_errors(
    served: Callable[..., tuple[LabelStudio, list[httpx.Request]]], answer: httpx.Response | Exception
) -> None:
    client, _ = served(answer)
    calls: list[Callable[[], object]] = [
        client.user_id,
        lambda: client.project(1),
        client.projects,
        lambda: client.create_project("a", "b", "c"),
        lambda: client.import_tasks(1, []),
        lambda: list(client.task_heads(1)),
        lambda: list(client.task_work(1, [1])),
    ]
    for call in calls:
        with pytest.raises(ServiceUnavailable):
            call()


def test_names_of_annotators_are_made_fit_to_show(
    served: Callable[..., tuple[LabelStudio, list[httpx.Request]]],
) -> None:
    users = [
        {"id": 1, "email": "eva\u001b[31m\u202e@lab\n"},
        {"id": 2, "email": "", "username": "bob"},
        {"id": 3, "email": "x" * 500},
        {"id": 4},
    ]
    client, _ = served(httpx.Response(200, json=users))
    names = client.user_names()
    assert names[1] == "eva\ufffd[31m\ufffd@lab\ufffd"
    assert names[2] == "bob"
    assert len(names[3]) == 120
    assert 4 not in names


@pytest.mark.parametrize(
    ("said", "review"),
    [
        ({"last_action": "accepted"}, "accepted"),
        ({"last_action": "fixed_and_accepted"}, "accepted"),
        ({"last_action": "rejected"}, "rejected"),
        ({"last_action": "updated"}, None),
        ({"last_action": "rejected", "reviews": [{"accepted": False}, {"accepted": True}]}, "accepted"),
        ({"reviews": []}, None),
    ],
)
def test_what_a_reviewer_said(said: dict[str, object], review: str | None) -> None:
    assert work_of({**ABOUT, "result": [], "ground_truth": True, "completed_by": {"id": 5}, **said}) == Work(
        1, 5, False, [], datetime(2026, 1, 1, 12, tzinfo=UTC), ground_truth=True, review=review
    )
