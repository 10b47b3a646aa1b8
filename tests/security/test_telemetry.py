"""Nobody is told that the services run: pages are opened in a real browser, and every request of theirs is seen."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Request

from tasks.config import Settings
from tasks.registry import open_registry
from tests.browser.conftest import chromium

__all__ = ["chromium"]

HERE = {"127.0.0.1", "localhost", None}
SETTLED_MS = 4000
"""Telemetry is sent a moment after a page is there."""
PATIENCE_MS = 120_000


class Watched:
    """A browser window whose requests are all written down; those to other machines end there."""

    def __init__(self, context: BrowserContext) -> None:
        self.context = context
        self.requests: list[Request] = []
        context.set_default_timeout(PATIENCE_MS)
        context.on("request", self._write_down)
        context.route(lambda url: urlsplit(url).hostname not in HERE, lambda route: route.abort())

    def _write_down(self, request: Request) -> None:
        self.requests.append(request)

    def visit(self, url: str) -> Page:
        page = self.context.new_page()
        page.goto(url)
        page.wait_for_timeout(SETTLED_MS)
        return page

    @property
    def outside(self) -> set[str]:
        """Addresses of other machines that the pages asked for."""
        return {request.url for request in self.requests if urlsplit(request.url).hostname not in HERE}


@pytest.fixture
def reader(services: Settings) -> dict[str, str]:
    """How a person signs in to MLflow."""
    return {"username": "reader", "password": services.mlflow.reader_password.get_secret_value()}


def test_the_watch_sees_what_goes_elsewhere(chromium: Browser, services: Settings) -> None:
    """Without this, the tests below could not fail."""
    with chromium.new_context() as context:
        watched = Watched(context)
        page = watched.visit(f"{services.mlflow.url}/health")
        page.evaluate("fetch('http://telemetry.example/ping', {mode: 'no-cors'}).catch(() => 0)")
        page.wait_for_timeout(500)
        assert watched.outside == {"http://telemetry.example/ping"}


def test_mlflows_pages_call_nobody_and_send_no_events(
    services: Settings, reader: dict[str, str], chromium: Browser
) -> None:
    run = open_registry(services).runs.open("watched", "k" * 64, name="a run", tags={})
    with chromium.new_context(http_credentials=reader) as context:
        watched = Watched(context)
        watched.visit(services.mlflow.url)
        page = watched.visit(open_registry(services).runs.url_of(run))
        page.get_by_text("a run").first.wait_for()

        assert len(watched.requests) > 10 and not watched.outside
        events = [each for each in watched.requests if "ui-telemetry" in each.url and each.method == "POST"]
        assert not events


def test_mlflow_opens_on_its_classic_page(services: Settings, reader: dict[str, str], chromium: Browser) -> None:
    """In a browser that was never here, at the plain address that `nightscope status` prints."""
    with chromium.new_context(http_credentials=reader) as context:
        page = Watched(context).visit(services.mlflow.url)
        page.get_by_role("button", name="Compare").wait_for()
        said = page.inner_text("body")

        assert page.evaluate("localStorage.getItem('mlflow.workflowType_v1')") == '"machine_learning"'
        assert urlsplit(page.url).fragment.startswith("/experiments")
        assert "Model training" in said and "Experiments" in said
        for other in ("Prompts", "Judges", "Traces", "AI Gateway", "Start Demo", "Welcome to MLflow"):
            assert other not in said, other


def test_label_studios_pages_call_nobody(services: Settings, chromium: Browser) -> None:
    account = services.label_studio
    with chromium.new_context() as context:
        watched = Watched(context)
        page = watched.visit(f"{account.url}/user/login/")
        page.locator("input[name=email]").fill(account.username)
        page.locator("input[name=password]").fill(account.password.get_secret_value())
        page.get_by_role("button", name="Log in").click()
        page.wait_for_url(lambda url: "/user/login" not in url)
        page.wait_for_timeout(SETTLED_MS)
        watched.visit(f"{account.url}/projects")

        assert len(watched.requests) > 10 and not watched.outside
