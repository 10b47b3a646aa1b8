"""Links of the texts beside the code: files and headings that they name are there. The site checks its own pages."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tasks.config import HOME
from tests.docs.texts import TEXTS, code_spans, name_of

_LINK = re.compile(r"!?\[[^\]]*\]\(([^()\s]+)\)")
_FOLDERS = "dags|docker|docs|examples|expectations|plugins|tasks|tests"


def anchors(path: Path) -> set[str]:
    """A text's headings, as links name them."""
    headings = re.findall(r"^#+ (.*)$", path.read_text(), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", [*TEXTS, HOME / "CHANGELOG.md"], ids=name_of)
def test_every_link_leads_somewhere(path: Path) -> None:
    for link in _LINK.findall(path.read_text()):
        if re.match(r"https?:", link):
            continue
        target, _, anchor = link.partition("#")
        file = (path.parent / target).resolve() if target else path
        assert file.is_relative_to(HOME) and file.exists(), link
        assert not anchor or anchor in anchors(file), link


@pytest.mark.parametrize("path", TEXTS, ids=name_of)
def test_every_file_that_is_named_exists(path: Path) -> None:
    for span in code_spans(path.read_text()):
        named = re.fullmatch(rf"(?:{_FOLDERS})/[\w./-]*", span)
        assert named is None or (HOME / span).exists(), span
