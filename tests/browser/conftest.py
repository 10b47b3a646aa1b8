"""One stack and one Chromium for all browser tests: what a person sees and presses, not what an API says."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Route, expect, sync_playwright

from tasks.config import HOME, Settings
from tasks.lake import open_lake
from tasks.registry import open_registry
from tasks.stack.down import down
from tasks.stack.services import UNITS
from tests.promotion.promoting import Scene
from tests.services import running

LINE = "sperm-detector"
"""The shipped line; its night is the real one."""

ASKED = "asked-line"
"""A line that asks a person. Its night, `ending_asked_line`, begins at its verdict: nothing is trained here."""

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-dev-shm-usage",
)
PATIENCE_MS = 120_000


def find_chromium() -> str:
    """The browser's program: `NIGHTSCOPE_CHROMIUM`, else the first of `PROGRAMS` on the path."""
    named = os.environ.get("NIGHTSCOPE_CHROMIUM")
    found = shutil.which(named) if named else next(filter(None, map(shutil.which, PROGRAMS)), None)
    if found is None:
        pytest.fail(
            f"the browser tests need Chromium: {named or ', '.join(PROGRAMS)} is not there. To fix: `apt-get install "
            "chromium` (`make test` does it where it may), or name one in NIGHTSCOPE_CHROMIUM",
            pytrace=False,
        )
    return found


_UP: list[tuple[Path, pytest.MonkeyPatch]] = []


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(nextitem: pytest.Item | None) -> None:
    """End the stack with the last browser test: idle, it would slow down all others until the session's end."""
    if nextitem is None or Path(__file__).parent not in nextitem.path.parents:
        while _UP:
            state_dir, patch = _UP.pop()
            patch.undo()  # the environment leads to it
            down(state_dir)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """A headless Chromium. Not for the whole session: Playwright keeps an asyncio loop running while it is open."""
    program = find_chromium()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """All of the embedded stack: the shipped line, and one that asks a person."""
    home = tmp_path_factory.mktemp("home")
    shutil.copytree(HOME / "dags", home / "dags", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(HOME / "tests/e2e/endings.py", home / "dags")
    (home / "plugins").symlink_to(HOME / "plugins")
    (home / ".nightscope").mkdir()
    (home / ".nightscope/envs").symlink_to(HOME / ".nightscope/envs")
    lines = home / "dags/lines"
    Scene.configured(ASKED, lines, approval={"required": True})
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NIGHTSCOPE_LINES_DIR", str(lines))
        patch.setenv("NIGHTSCOPE_TEST_ENDINGS", "ending")
        with running(tmp_path_factory.mktemp("stack"), UNITS, home=home) as settings:
            patch.setenv("NIGHTSCOPE_STATE_DIR", str(settings.state_dir))
            _UP.append((settings.state_dir, patch))
            yield settings


@pytest.fixture(scope="session")
def scene(stack: Settings, tmp_path_factory: pytest.TempPathFactory) -> Scene:
    """The line that asks, in the lake and the registry."""
    return Scene(ASKED, open_lake(stack), open_registry(stack), tmp_path_factory.mktemp("scene"))


@dataclass
class Visitor:
    """A person's browser: pages that share their cookies, and the hosts outside of this machine that they called."""

    context: BrowserContext
    settings: Settings
    called: set[str] = field(default_factory=set)
    known: set[str] = field(default_factory=set)

    def airflow(self, path: str = "/") -> Page:
        """A page of Airflow, signed in."""
        page = self.context.new_page()
        if "airflow" not in self.known:
            page.goto(self.settings.airflow.url)
            page.locator("input[name=username]").fill(self.settings.airflow.username)
            page.locator("input[name=password]").fill(self.settings.airflow.password.get_secret_value())
            page.get_by_role("button", name="Sign in").click()
            page.wait_for_url(lambda url: "/auth/" not in url)
            self.known.add("airflow")
        page.goto(f"{self.settings.airflow.url}{path}")
        return page

    def label_studio(self, path: str = "/projects") -> Page:
        """A page of Label Studio, signed in."""
        page = self.context.new_page()
        if "label-studio" not in self.known:
            page.goto(f"{self.settings.label_studio.url}/user/login/")
            page.locator("input[name=email]").fill(self.settings.label_studio.username)
            page.locator("input[name=password]").fill(self.settings.label_studio.password.get_secret_value())
            page.get_by_role("button", name="Log in").click()
            page.wait_for_url(lambda url: "/user/login" not in url)
            self.known.add("label-studio")
        page.goto(f"{self.settings.label_studio.url}{path}")
        return page


@pytest.fixture
def visitor(chromium: Browser, stack: Settings, request: pytest.FixtureRequest) -> Iterator[Visitor]:
    """A person before a browser. Nothing but this machine is reached; whoever tries is remembered."""
    expect.set_options(timeout=PATIENCE_MS)
    context = chromium.new_context(viewport={"width": 1400, "height": 1000})
    context.set_default_timeout(PATIENCE_MS)
    visitor = Visitor(context, stack)

    def only_here(route: Route) -> None:
        host = urlsplit(route.request.url).hostname
        if host in ("127.0.0.1", "localhost", None):
            route.continue_()
        else:
            visitor.called.add(str(host))
            route.abort()

    context.route("**/*", only_here)
    yield visitor
    folder = os.environ.get("NIGHTSCOPE_SHOTS")
    for number, page in enumerate(context.pages if folder else ()):
        page.screenshot(path=Path(str(folder)) / f"{request.node.name}-{number}.png", full_page=True)
    context.close()


@pytest.fixture(scope="session")
def airflow_api(stack: Settings) -> Iterator[httpx.Client]:
    """Airflow's API, signed in: to wait for what a click began."""
    with httpx.Client(base_url=stack.airflow.url, timeout=60, trust_env=False) as client:
        password = stack.airflow.password.get_secret_value()
        signed_in = client.post("/auth/token", json={"username": stack.airflow.username, "password": password})
        client.headers["Authorization"] = f"Bearer {signed_in.json()['access_token']}"
        yield client


@pytest.fixture
def shot() -> Callable[[Page, str], None]:
    """Keep a screenshot in `NIGHTSCOPE_SHOTS`, where it is set: what a page looks like, for a person to judge."""

    def keep(page: Page, name: str) -> None:
        if folder := os.environ.get("NIGHTSCOPE_SHOTS"):
            page.screenshot(path=Path(folder) / f"{name}.png", full_page=True)

    return keep
