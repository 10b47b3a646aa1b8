"""The door to Label Studio: the only module that knows its SDK.

The SDK's full client takes three seconds to import (pandas, boto3 and faker come along) and builds a pydantic object
for every region. A night with nothing new cannot afford the first, five thousand labelled frames not the second. So we
use the SDK's client wrapper, which knows how to sign requests with either kind of token, and read answers as JSON.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cached_property
from typing import Any

import httpx
from label_studio_sdk.core.api_error import ApiError
from label_studio_sdk.core.client_wrapper import SyncClientWrapper

from tasks.config import LabelStudioSettings
from tasks.errors import ConfigError, ServiceUnavailable
from tasks.labeling.answers import Project, TaskHead, TaskWork, project_of, work_of

TIME_FORMAT = "%Y-%m-%dT%H:%M:%S.%fZ"
"""How Label Studio writes times, and the only form its filters read (anything else is a 500)."""

_TRIES = 3
_HEADS = "id,data,updated_at,total_annotations,cancelled_annotations"
# Nested serializers obey the same parameter: a field must be named here to appear in the annotations, too.
_WORK = "id,data,updated_at,annotations,result,was_cancelled,completed_by"


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
        return int(self._get("/api/current-user/whoami")["id"])

    def user_names(self) -> dict[int, str]:
        """All annotators: id -> e-mail address."""
        return {int(user["id"]): user["email"] for user in self._get("/api/users")}

    # projects

    def project(self, project_id: int) -> Project | None:
        """A project with its counts, or None if there is none of that id."""
        path = f"/api/projects/{project_id}/"
        fields = "id,title,description,label_config,task_number,total_annotations_number,skipped_annotations_number"
        response = self._send("GET", path, params={"include": fields}, missing_ok=True)
        return None if response.status_code == 404 else project_of(self._json(response), _server_time(response))

    def projects(self) -> list[tuple[int, str]]:
        """All projects: (id, description), by id."""
        found: list[tuple[int, str]] = []
        page = 1
        while True:
            params = {"page": page, "page_size": 500, "include": "id,description"}
            answer = self._get("/api/projects/", params)
            found += [(int(entry["id"]), entry.get("description") or "") for entry in answer["results"]]
            if not answer.get("next"):
                return sorted(found)
            page += 1

    def create_project(self, title: str, description: str, label_config: str) -> int:
        """Make a project; its id."""
        body = {"title": title, "description": description, "label_config": label_config}
        return int(self._write("POST", "/api/projects/", body)["id"])

    def change_label_config(self, project_id: int, label_config: str) -> None:
        """Give a project another labeling config."""
        self._write("PATCH", f"/api/projects/{project_id}/", {"label_config": label_config})

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
            done = int(entry["total_annotations"] or 0) + int(entry["cancelled_annotations"] or 0)
            yield TaskHead(int(entry["id"]), entry["data"], entry["updated_at"], done)

    def task_work(self, project_id: int, task_ids: Sequence[int], page_size: int = 100) -> Iterator[TaskWork]:
        """Labeling tasks with all their annotations, a page of them in memory at a time; vanished ones are left out."""
        for start in range(0, len(task_ids), page_size):
            ids = list(task_ids[start : start + page_size])
            query = {"selectedItems": {"all": False, "included": ids}, "ordering": ["tasks:id"]}
            for entry in self._task_page(project_id, query, _WORK, page_size, annotations=True):
                yield TaskWork(int(entry["id"]), entry["data"], tuple(work_of(each) for each in entry["annotations"]))

    def _tasks(
        self, project_id: int, filters: list[dict[str, Any]], fields: str, page_size: int
    ) -> Iterator[dict[str, Any]]:
        # Page by id, not by page number: tasks that vanish meanwhile would shift the pages, and one would be missed.
        last = 0
        while True:
            items = [*filters, _filter("id", "Number", last)]
            query = {"filters": {"conjunction": "and", "items": items}, "ordering": ["tasks:id"]}
            page = self._task_page(project_id, query, fields, page_size)
            yield from page
            if len(page) < page_size:
                return
            last = int(page[-1]["id"])

    def _task_page(
        self, project_id: int, query: dict[str, Any], fields: str, page_size: int, *, annotations: bool = False
    ) -> list[dict[str, Any]]:
        params = {
            "project": project_id,
            "query": json.dumps(query),
            "include": fields,
            "fields": "all" if annotations else "task_only",
            "page_size": page_size,
            "resolve_uri": "false",
        }
        return list(self._get("/api/tasks", params)["tasks"])

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
        except ValueError as error:
            raise ServiceUnavailable(
                f"Label Studio at {self.url}: the answer to {response.request.url.path} is not JSON",
                fix="check that NIGHTSCOPE_LABEL_STUDIO__URL is Label Studio's",
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
    ) -> httpx.Response:
        # What makes things is not tried again, unless the server tells a second time from a first: it may have happened
        # although the answer was lost. The next sync will see.
        tries = 1 if method == "POST" and not conflict_ok else _TRIES
        for attempt in range(1, tries + 1):
            try:
                headers = self._signer.get_headers()
                response = self._http.request(method, path, params=params, json=body, headers=headers)
                if response.status_code < 500 or attempt == tries:
                    break
            except httpx.TransportError as error:
                if attempt == tries:
                    raise ServiceUnavailable(
                        f"Label Studio at {self.url} does not answer ({type(error).__name__}) to {method} {path}",
                        fix="see `nightscope status`, and Label Studio's log",
                    ) from error
            except ApiError as error:  # a personal token is exchanged for an access token before the request
                raise self._refused_token(error.status_code or 401) from error
            time.sleep(0.5 * attempt)
        if response.is_success or (missing_ok and response.status_code == 404):
            return response
        if conflict_ok and response.status_code == 409:
            return response
        raise self._failure(method, path, response)

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


def _filter(column: str, kind: str, value: Any) -> dict[str, Any]:
    return {"filter": f"filter:tasks:{column}", "operator": "greater", "type": kind, "value": value}


def _server_time(response: httpx.Response) -> datetime:
    stated = response.headers.get("date")
    return parsedate_to_datetime(stated).astimezone(UTC) if stated else datetime.now(UTC)


def _detail(response: httpx.Response) -> str:
    try:
        answer = response.json()
        said = answer.get("validation_errors") or answer.get("detail") if isinstance(answer, dict) else answer
    except ValueError:
        said = response.reason_phrase
    return str(said)[:300]
