"""What mkdocs does for this site beside turning Markdown into pages.

`<!-- write: NAME -->` in a page becomes one of the tables of `reference.py`. The texts at the checkout's root
(SECURITY.md and others) become pages, and links between files of the checkout become links between pages: the same
Markdown can be read beside the code, too.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files
from reference import TABLES

ROOT = Path(__file__).resolve().parents[2]

PAGES = {
    "SECURITY.md": "security.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "examples/README.md": "examples.md",
    "README.md": "index.md",
}
"""Files outside of docs/ -> their page. README.md has none of its own: the site's first page is its place."""

_WRITE = re.compile(r"^<!-- write: ([a-z-]+) -->$", re.M)
_LINK = re.compile(r"(?<=\]\()([^()\s]+)(?=\))")


def on_files(files: Files, config: Any) -> Files:
    """Add a page for each text that is not in docs/."""
    for path, page in PAGES.items():
        if page not in files.src_uris:
            files.append(File.generated(config, page, content=_on_site((ROOT / path).read_text(), path, page)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Write the page's tables, and turn its links to files outside of docs/ into links to their pages."""
    uri = page.file.src_uri
    written = _WRITE.sub(lambda found: TABLES[found[1]](), markdown)
    return written if uri in PAGES.values() and uri != "index.md" else _on_site(written, f"docs/{uri}", uri)


def _on_site(text: str, path: str, page: str) -> str:
    """A text's links as its page needs them.

    Args:
        text: Markdown.
        path: Where it is in the checkout.
        page: Where its page is on the site.
    """
    return _LINK.sub(_relinked(path, page), text)


def _relinked(path: str, page: str) -> Callable[[re.Match[str]], str]:
    def relinked(found: re.Match[str]) -> str:
        link = found[1]
        if re.match(r"[a-z]+:|#|/", link):
            return link
        target, hash_, anchor = link.partition("#")
        in_checkout = posixpath.normpath(posixpath.join(posixpath.dirname(path), target))
        if in_checkout.startswith("docs/"):
            on_site = in_checkout.removeprefix("docs/")
        elif in_checkout in PAGES:
            on_site = PAGES[in_checkout]
        else:
            return link  # mkdocs will say that there is no such page
        return posixpath.relpath(on_site, posixpath.dirname(page) or ".") + hash_ + anchor

    return relinked
