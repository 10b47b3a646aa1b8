"""The door to Label Studio: the only module that knows its SDK.

The SDK's full client takes three seconds to import (pandas, boto3 and faker come along) and builds a pydantic object
for every region. A night with nothing new cannot afford the first, five thousand labelled frames not the second. So we
use the SDK's client wrapper, which knows how to sign requests with either kind of token, and read answers as JSON.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cached_property
from typing import Any, Literal

import httpx
from label_studio_sdk.core.api_error import ApiError
from label_studio_sdk.core.client_wrapper import SyncClientWrapper

from tasks.config import LabelStudioSettings
from tasks.errors import ConfigError, DataError, ServiceUnavailable
from tasks.escaping import marked
from tasks.labeling.answers import Prediction, Project, TaskHead, TaskWork, Work, prediction_of, project_of, work_of

TIME_FORMAT = "%Y-%m-%dT%H:%M:%S.%fZ"
"""How Label Studio writes times, and the only form its filters read (anything else is a 500)."""

_TRIES = 3
_HEADS = "id,data,updated_at,total_annotations,cancelled_annotations"
# Nested serializers obey the same parameter: a field must be named here to appear in the annotations, too.
_ABOUT_WORK = "id,data,updated_at,annotations,was_cancelled,completed_by,ground_truth,last_action,reviews"
_WORK = f"{_ABOUT_WORK},result"

MAX_ANSWER_BYTES = 32 * 2**20
"""Of annotators' work read at once. As Python's objects it takes ten times that."""
_LONGEST_NAME = 120


class _Unreadable(Exception):
    """An answer that holds annotators' work cannot be read; the text says why."""


class LabelStudio:
    """One Label Studio server, as one user. Opening it does nothing on the network; threads may share it.

    Every method raises `ServiceUnavailable` when the server does not answer properly and `ConfigError` when it refuses
    our token or our request. Messages never contain the token.

    Args:
        settings: Where it is, and the access token (legacy or personal).
    """

    def __init__(self, settings: LabelStudioSettings) -> None:
        if not settings.url or not settings.token.get_secret_value():
            raise ConfigError(
                "settings: Label Studio is not configured",
                expected="NIGHTSCOPE_LABEL_STUDIO__URL and NIGHTSCOPE_LABEL_STUDIO__TOKEN",
                fix="start the embedded stack (nightscope up), or name your own server",
            )
        self.url = settings.url.rstrip("/")
        self._token = settings.token.get_secret_value()
        # Importing 500 labelled frames takes a busy server seconds; giving up early would only make it start again.
        self._http = httpx.Client(base_url=self.url, timeout=httpx.Timeout(300, connect=10), follow_redirects=True)

    def close(self) -> None:
        """Give the connections back."""
        self._http.close()

    def __enter__(self) -> LabelStudio:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # people

    def user_id(self) -> int:
        """The id of the user whose token we hold."""
        found = self._get("/api/current-user/whoami")
        with self._as_expected("/api/current-user/whoami"):
            return int(found["id"])

    def user_names(self) -> dict[int, str]:
        """All annotators: id -> e-mail address, or the name of those who have none."""
        found = self._get("/api/users")
        with self._as_expected("/api/users"):
            named = {int(user["id"]): user.get("email") or user.get("username") for user in found}
            return {number: marked(name, _LONGEST_NAME) for number, name in named.items() if isinstance(name, str)}

    # projects

    def project(self, project_id: int) -> Project | None:
        """A project with its counts, or None if there is none of that id."""
        path = f"/api/projects/{project_id}/"
        fields = "id,title,description,label_config,task_number,total_annotations_number,skipped_annotations_number"
        response = self._send("GET", path, params={"include": fields}, missing_ok=True)
        if response.status_code == 404:
            return None
        found = self._json(response)
        with self._as_expected(path):
            return project_of(found, _server_time(response))

    def projects(self) -> list[tuple[int, str]]:
        """All projects: (id, description), by id."""
        found: list[tuple[int, str]] = []
        page = 1
        while True:
            params = {"page": page, "page_size": 500, "include": "id,description"}
            answer = self._get("/api/projects/", params)
            with self._as_expected("/api/projects/"):
                found += [(int(entry["id"]), entry.get("description") or "") for entry in answer["results"]]
                if not answer.get("next"):
                    return sorted(found)
            page += 1

    def create_project(self, title: str, description: str, label_config: str) -> int:
        """Make a project; its id."""
        body = {"title": title, "description": description, "label_config": label_config}
        made = self._write("POST", "/api/projects/", body)
        with self._as_expected("/api/projects/"):
            return int(made["id"])

    def change_label_config(self, project_id: int, label_config: str) -> str | None:
        """Give a project another labeling config.

        Returns:
            Why Label Studio refuses it, e.g. because there are answers that it has no place for; None: it took it.
        """
        body = {"label_config": label_config}
        response = self._send("PATCH", f"/api/projects/{project_id}/", body, refusal_ok=True)
        return _detail(response) if response.status_code == 400 else None

    def s3_storages(self, project_id: int) -> list[dict[str, Any]]:
        """The S3 import storages of a project."""
        return list(self._get("/api/storages/s3", {"project": project_id}))

    def create_s3_storage(self, project_id: int, **fields: Any) -> None:
        """Connect an S3 bucket to a project."""
        self._write("POST", "/api/storages/s3", {"project": project_id, **fields})

    def delete_s3_storage(self, storage_id: int) -> None:
        """Disconnect a bucket; labeling tasks stay."""
        self._send("DELETE", f"/api/storages/s3/{storage_id}", missing_ok=True)

    # labeling tasks

    def import_tasks(self, project_id: int, tasks: Sequence[dict[str, Any]]) -> list[int]:
        """Make labeling tasks, all of them or none; their ids in the order given."""
        path = f"/api/projects/{project_id}/import"
        answer = self._write("POST", path, list(tasks), {"return_task_ids": "true"})
        with self._as_expected(path):
            return [int(task_id) for task_id in answer["task_ids"]]

    def change_task_data(self, task_id: int, data: dict[str, Any]) -> None:
        """Replace what a labeling task shows; its annotations stay."""
        self._write("PATCH", f"/api/tasks/{task_id}/", {"data": data})

    def delete_task(self, task_id: int) -> None:
        """Remove a labeling task and all its annotations."""
        self._send("DELETE", f"/api/tasks/{task_id}/", missing_ok=True)

    def task_heads(self, project_id: int, since: datetime | None = None) -> Iterator[TaskHead]:
        """Labeling tasks changed after `since` (all, if None), by id, without their annotations."""
        changed = [] if since is None else [_filter("updated_at", "Datetime", since.strftime(TIME_FORMAT))]
        for entry in self._tasks(project_id, changed, _HEADS, 1000):
            with self._as_expected("/api/tasks"):
                done = int(entry["total_annotations"] or 0) + int(entry["cancelled_annotations"] or 0)
                head = TaskHead(int(entry["id"]), entry["data"], entry["updated_at"], done)
            yield head

    def task_work(self, project_id: int, task_ids: Sequence[int], page_size: int = 100) -> Iterator[TaskWork]:
        """Labeling tasks with all their annotations, a page of them in memory at a time; vanished ones are left out.

        An annotation that Label Studio cannot give, or gives in a form that cannot be read (numbers beyond all numbers,
        JSON nested without end, more than `MAX_ANSWER_BYTES`), comes with the reason and without its regions; it keeps
        no other from being read.
        """
        for start in range(0, len(task_ids), page_size):
            yield from self._work(project_id, list(task_ids[start : start + page_size]))

    def _work(self, project_id: int, task_ids: list[int]) -> Iterator[TaskWork]:
        try:
            found = self._work_page(project_id, task_ids, _WORK)
        except _Unreadable as error:
            if len(task_ids) == 1:
                yield from self._damaged_work(project_id, task_ids, str(error))
                return
            half = len(task_ids) // 2
            yield from self._work(project_id, task_ids[:half])
            yield from self._work(project_id, task_ids[half:])
        else:
            yield from found

    def _damaged_work(self, project_id: int, task_ids: list[int], why: str) -> list[TaskWork]:
        """A labeling task whose annotations cannot be read together: each of them alone."""
        try:
            found = self._work_page(project_id, task_ids, _ABOUT_WORK)
        except _Unreadable as error:
            raise ServiceUnavailable(
                f"Label Studio at {self.url}: labeling task {task_ids[0]} cannot be read: {why}; without what was "
                f"drawn: {error}",
                fix="see Label Studio's log; if it persists, delete the labeling task",
            ) from error
        return [replace(task, work=tuple(map(self._alone, task.work))) for task in found]

    def _alone(self, about: Work) -> Work:
        path = f"/api/annotations/{about.annotation_id}/"
        try:
            entry = self._bounded(path, {})
            with self._as_expected(path):
                return work_of(entry)
        except _Unreadable as error:
            return replace(about, unreadable=str(error))

    def _work_page(self, project_id: int, task_ids: list[int], fields: str) -> list[TaskWork]:
        query = {"selectedItems": {"all": False, "included": task_ids}, "ordering": ["tasks:id"]}
        answer = self._bounded("/api/tasks", _page_of(project_id, query, fields, len(task_ids), "all"))
        lacking = None if fields == _WORK else "it was not read"
        with self._as_expected("/api/tasks"):
            return [
                TaskWork(int(task["id"]), task["data"], tuple(work_of(each, lacking) for each in task["annotations"]))
                for task in answer["tasks"]
            ]

    def _bounded(self, path: str, params: dict[str, Any]) -> Any:
        """Annotators' work, as JSON of a bounded size.

        Raises:
            _Unreadable: The server cannot give it, or what it gives cannot be read.
        """
        response = self._send("GET", path, params=params, broken_ok=True, most_bytes=MAX_ANSWER_BYTES)
        if response.status_code == 500:
            raise _Unreadable("Label Studio itself cannot read it (500)")
        try:
            return response.json()
        except (ValueError, RecursionError) as error:
            raise _Unreadable(f"it is not JSON that can be read ({type(error).__name__})") from error

    def _tasks(
        self, project_id: int, filters: list[dict[str, Any]], fields: str, page_size: int
    ) -> Iterator[dict[str, Any]]:
        # Page by id, not by page number: tasks that vanish meanwhile would shift the pages, and one would be missed.
        last = 0
        while True:
            items = [*filters, _filter("id", "Number", last)]
            query = {"filters": {"conjunction": "and", "items": items}, "ordering": ["tasks:id"]}
            answer = self._get("/api/tasks", _page_of(project_id, query, fields, page_size, "task_only"))
            with self._as_expected("/api/tasks"):
                page = list(answer["tasks"])
            yield from page
            if len(page) < page_size:
                return
            with self._as_expected("/api/tasks"):
                last = int(page[-1]["id"])

    # annotations

    def create_annotation(self, task_id: int, regions: list[dict[str, Any]], unique_id: str) -> bool:
        """Add an annotation to a labeling task.

        Args:
            unique_id: UUID. The server refuses a second annotation of the same, so that trying again is safe.

        Returns:
            False if the annotation was there already.
        """
        body = {"result": regions, "unique_id": unique_id}
        response = self._send("POST", f"/api/tasks/{task_id}/annotations/", body, conflict_ok=True)
        return response.status_code != 409

    def change_annotation(self, annotation_id: int, regions: list[dict[str, Any]]) -> None:
        """Replace what an annotation says."""
        self._write("PATCH", f"/api/annotations/{annotation_id}/", {"result": regions})

    # predictions

    def predictions(self, task_id: int) -> list[Prediction]:
        """What models put before the annotators of a labeling task."""
        found = self._get("/api/predictions/", {"task": task_id})
        with self._as_expected("/api/predictions/"):
            return [prediction_of(entry) for entry in found]

    def create_prediction(self, task_id: int, regions: list[dict[str, Any]], model_version: str) -> None:
        """Put a model's regions before the annotators of a labeling task."""
        self._write("POST", "/api/predictions/", {"task": task_id, "result": regions, "model_version": model_version})

    def delete_prediction(self, prediction_id: int) -> None:
        """Take a prediction back; annotations that were made of it stay."""
        self._send("DELETE", f"/api/predictions/{prediction_id}/", missing_ok=True)

    # requests

    @cached_property
    def _signer(self) -> SyncClientWrapper:
        return SyncClientWrapper(api_key=self._token, base_url=self.url, httpx_client=self._http)

    def _get(self, path: str, params: dict[str, Any] | None = None) -> Any:
        return self._json(self._send("GET", path, params=params))

    def _write(self, method: str, path: str, body: Any, params: dict[str, Any] | None = None) -> Any:
        return self._json(self._send(method, path, body, params))

    def _json(self, response: httpx.Response) -> Any:
        try:
            return response.json()
        except (ValueError, RecursionError) as error:
            raise ServiceUnavailable(
                f"Label Studio at {self.url}: the answer to {response.request.url.path} is not JSON",
                fix="check that NIGHTSCOPE_LABEL_STUDIO__URL is Label Studio's",
            ) from error

    @contextmanager
    def _as_expected(self, path: str) -> Iterator[None]:
        """What is looked for in an answer is in it; or else another server answers, or another version."""
        try:
            yield
        except (LookupError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise ServiceUnavailable(
                f"Label Studio at {self.url}: the answer to {path} is not as expected "
                f"({type(error).__name__}: {marked(str(error), 120)})",
                fix="check that NIGHTSCOPE_LABEL_STUDIO__URL is Label Studio's, and its version",
            ) from error

    def _send(
        self,
        method: str,
        path: str,
        body: Any = None,
        params: dict[str, Any] | None = None,
        *,
        missing_ok: bool = False,
        conflict_ok: bool = False,
        refusal_ok: bool = False,
        broken_ok: bool = False,
        most_bytes: int | None = None,
    ) -> httpx.Response:
        # What makes things is not tried again, unless the server tells a second time from a first: it may have happened
        # although the answer was lost. The next sync will see.
        tries = 1 if method == "POST" and not conflict_ok else _TRIES
        for attempt in range(1, tries + 1):
            try:
                response = self._once(method, path, body, params, most_bytes)
                if response.status_code < 500 or attempt == tries:
                    break
            except (httpx.HTTPError, httpx.InvalidURL) as error:
                if attempt == tries:
                    raise ServiceUnavailable(
                        f"Label Studio at {self.url} does not answer ({type(error).__name__}) to {method} {path}",
                        fix="see `nightscope status`, and Label Studio's log",
                    ) from error
            time.sleep(0.5 * attempt)
        tolerated = {404: missing_ok, 409: conflict_ok, 400: refusal_ok, 500: broken_ok}
        if response.is_success or tolerated.get(response.status_code, False):
            return response
        raise self._failure(method, path, response)

    def _once(
        self, method: str, path: str, body: Any, params: dict[str, Any] | None, most_bytes: int | None
    ) -> httpx.Response:
        try:
            headers = self._signer.get_headers()
        except ApiError as error:  # a personal token is exchanged for an access token before the request
            raise self._refused_token(error.status_code or 401) from error
        except (TypeError, ValueError, LookupError, OverflowError) as error:
            raise self._refused_token(401) from error
        try:
            request = self._http.build_request(method, path, params=params, json=body, headers=headers)
        except (TypeError, ValueError, RecursionError) as error:
            raise DataError(f"Label Studio: what should go to {path} is not JSON ({type(error).__name__})") from error
        if most_bytes is None:
            return self._http.send(request)
        streamed = self._http.send(request, stream=True)
        try:
            content = bytearray()
            for chunk in streamed.iter_bytes():
                content += chunk
                if len(content) > most_bytes:
                    raise _Unreadable(f"it is larger than {most_bytes // 2**20} MiB")
        finally:
            streamed.close()
        return httpx.Response(streamed.status_code, content=bytes(content), request=request)

    def _failure(self, method: str, path: str, response: httpx.Response) -> Exception:
        if response.status_code in (401, 403):
            return self._refused_token(response.status_code)
        what = f"Label Studio at {self.url}: {method} {path} ended with {response.status_code}: {_detail(response)}"
        if response.status_code >= 500 or response.status_code in (408, 429):
            return ServiceUnavailable(what, fix="see Label Studio's log")
        return ConfigError(what)

    def _refused_token(self, status: int) -> ConfigError:
        return ConfigError(
            f"Label Studio at {self.url} refuses our access token ({status})",
            fix="set NIGHTSCOPE_LABEL_STUDIO__TOKEN to a token of a user who may administer projects",
        )


def _page_of(
    project_id: int, query: dict[str, Any], include: str, page_size: int, fields: Literal["all", "task_only"]
) -> dict[str, Any]:
    return {
        "project": project_id,
        "query": json.dumps(query),
        "include": include,
        "fields": fields,
        "page_size": page_size,
        "resolve_uri": "false",
    }


def _filter(column: str, kind: str, value: Any) -> dict[str, Any]:
    return {"filter": f"filter:tasks:{column}", "operator": "greater", "type": kind, "value": value}


def _server_time(response: httpx.Response) -> datetime:
    stated = response.headers.get("date")
    return parsedate_to_datetime(stated).astimezone(UTC) if stated else datetime.now(UTC)


def _detail(response: httpx.Response) -> str:
    try:
        answer = response.json()
        said = answer.get("validation_errors") or answer.get("detail") if isinstance(answer, dict) else answer
        return marked(str(said).replace("\\n", " "), 300)
    except (ValueError, RecursionError):
        return marked(response.reason_phrase, 300)
