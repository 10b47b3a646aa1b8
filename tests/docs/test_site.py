"""The site builds strictly, its links lead somewhere, and no page wants anything from another machine."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from tests.docs.texts import build_site, script

pytestmark = pytest.mark.integration

ASSETS = {
    "script": "src",
    "img": "src",
    "iframe": "src",
    "source": "src",
    "video": "src",
    "link": "href",
    "use": "href",
}


@dataclass
class Page(HTMLParser):
    """A page's anchors, links and assets."""

    text: str
    anchors: set[str] = field(default_factory=set)
    links: list[str] = field(default_factory=list)
    assets: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()
        self.feed(self.text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        self.anchors |= {values[name] for name in ("id", "name") if name in values}
        if tag == "a" and "href" in values:
            self.links.append(values["href"])
        if tag in ASSETS and ASSETS[tag] in values:
            self.assets.append(values[ASSETS[tag]])


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built."""
    return build_site(tmp_path_factory.mktemp("site"))


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, Page]:
    """Every page of it."""
    return {path: Page(path.read_text()) for path in site.rglob("*.html") if path.name != "404.html"}


def _local(pages: dict[Path, Page], links: str) -> Iterator[tuple[Path, str]]:
    for path, page in pages.items():
        for link in getattr(page, links):
            if not urlsplit(link).scheme:
                yield path, link


def test_every_link_and_picture_is_there(pages: dict[Path, Page]) -> None:
    checked = 0
    for path, link in (*_local(pages, "links"), *_local(pages, "assets")):
        parts = urlsplit(link)
        target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
        assert target.exists(), f"{path.name}: {link}"
        if parts.fragment and target in pages:
            assert unquote(parts.fragment) in pages[target].anchors | {"__skip"}, f"{path.name}: {link}"
        checked += 1
    assert checked > 500


def test_no_page_wants_anything_from_another_machine(site: Path, pages: dict[Path, Page]) -> None:
    for path, page in pages.items():
        assert not [asset for asset in page.assets if re.match(r"(https?:)?//", asset)], path
    for sheet in site.rglob("*.css"):
        assert not re.findall(r"(?:url\(|@import\s+)[\"']?(?:https?:)?//[^)\"']+", sheet.read_text()), sheet
    # The theme's script can fetch diagrams' drawing program and a repository's stars; no page asks for either.
    assert not [path for path, page in pages.items() if 'class="mermaid"' in page.text or "data-md-source" in page.text]


def test_what_is_written_from_the_code_is_on_the_pages(site: Path) -> None:
    keys = (site / "how-to/add-a-line.html").read_text()
    for key in ("near_duplicate_bits", "for_each", "four_eyes", "detection-from-scratch"):
        assert f"<code>{key}</code>" in keys
    commands = (site / "reference/commands.html").read_text()
    for path, _ in script().walk(script().GROUP, "nightscope"):
        assert f'id="{path.replace(" ", "-")}"' in commands
    assert "NightscopeError" in (site / "reference/errors.html").read_text()
    assert "open_lake" in (site / "reference/lake.html").read_text()
    assert not list(site.rglob("*.py")) and not [p for p in site.rglob("*.html") if "<!-- write:" in p.read_text()]
