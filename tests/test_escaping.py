"""Names, keys and notes of people who mean harm, where each of them is shown."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path

import pytest

from tasks.config import HOME
from tasks.escaping import csv_cell, json_safe, markdown, markdown_code, one_line, visible

HOSTILE = "a\x1b[2J\x1b]0;gone\x07\x9b31m\u202egnp.exe\x7f\r\u2066x\u2028"


def test_control_characters_are_spelled_out() -> None:
    assert visible(HOSTILE) == r"a\x1b[2J\x1b]0;gone\x07\x9b31m\u202egnp.exe\x7f\x0d\u2066x\u2028"
    assert visible("naïve 精子 µm\tand\nline 👩‍🔬") == "naïve 精子 µm\tand\nline 👩‍🔬", "what people write stays"
    assert visible("\udc80.mp4") == r"\udc80.mp4", "a file name that is no UTF-8 can be printed"


def test_a_line_break_forges_no_line() -> None:
    assert one_line("a.mp4\nerror: all is lost\tnow") == r"a.mp4\nerror: all is lost\tnow"


def test_json_keeps_its_meaning() -> None:
    document = json.dumps({HOSTILE: [HOSTILE, "é"]}, ensure_ascii=False)
    safe = json_safe(document)
    assert json.loads(safe) == json.loads(document) and "é" in safe
    assert visible(safe) == safe


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("[click](http://evil.test)", "\\[click\\](http:\u2060//evil.test)"),
        ("![x](https://evil.test/x.png)", "!\\[x\\](https:\u2060//evil.test/x.png)"),
        ("see www.evil.test", "see www\u2060.evil.test"),
        ("ana@evil.test", "ana@\u2060evil.test"),
        ("<img src=x onerror=alert(1)>", "\\<img src=x onerror=alert(1)\\>"),
        ("&lt;b&gt; ~~no~~ # h\n\n# h", "\\&lt;b\\&gt; \\~\\~no\\~\\~ \\# h \\# h"),
        ("a | b", "a \\| b"),
    ],
)
def test_markdown_takes_it_for_nothing_but_text(text: str, shown: str) -> None:
    assert markdown(text) == shown


def test_a_code_span_cannot_be_left() -> None:
    assert markdown_code("AP50.`x` | [y](z)\n") == r"`AP50.'x' \| [y](z)\n`"


@pytest.mark.parametrize("cell", ["=1+1", "+x", "-2+3", "@SUM(1)", "\t=1", "\r=1", " =1", "＝1", "-1e5 "])
def test_no_cell_is_a_formula(cell: str) -> None:
    assert csv_cell(cell) == f"'{cell}"


@pytest.mark.parametrize("cell", [-0.5, 3, None, "-0.5", "sperm", "a-b", "", "–"])
def test_other_cells_stay(cell: object) -> None:
    assert csv_cell(cell) is cell


def test_our_tables_have_no_formula_in_them() -> None:
    from tasks.evaluation.tables import as_csv
    from tasks.experiments.fold_log import as_csv as folds_as_csv

    rows = list(csv.reader(io.StringIO(as_csv([{"class": "=cmd|' /C calc'!A0", "@x": -1.5}]))))
    assert rows == [["class", "'@x"], ["'=cmd|' /C calc'!A0", "-1.5"]]
    score = {"metric": "AP50", "where": "=HYPERLINK(1)", "mean": -0.5, "low": 0.1, "high": 1, "sd": 0, "folds": [0.5]}
    told = list(csv.reader(io.StringIO(folds_as_csv({"folds": [{"fold": 1}], "scores": [score]}))))
    assert told[1] == ["AP50", "'=HYPERLINK(1)", "-0.5", "0.1", "1", "0", "0.5"]


TEMPLATES = sorted((HOME / "tasks").rglob("*.html.j2"))


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: path.parent.name)
def test_no_template_trusts_what_it_shows(template: Path) -> None:
    text = template.read_text()
    assert not re.search(r"\|\s*safe|autoescape|<script|javascript:|\son[a-z]+\s*=", text)
    assert not re.search(r"<[^<>]*=\{\{", text), "a value of an attribute stands in quotes"
    for address in re.findall(r'(?:href|src)="([^"]*)"', text):
        assert re.match(r"#|data:image/|\{\{ (link\.safe_url|(side\.)?picture(\(frame\))?) \}\}$", address), address


_DRAWN = HOME / "tasks/experiments/search/report.py"
"""Shows Matplotlib's SVG; `test_text_in_a_drawing_is_text` gives it hostile text."""


def test_text_in_a_drawing_is_text() -> None:
    from matplotlib import pyplot

    from tasks.experiments.search.report import _svg

    def draw() -> object:
        _, axes = pyplot.subplots()
        axes.set_xlabel("<script>alert(1)</script>")
        return axes

    drawn = str(_svg(draw))
    assert "<script" not in drawn and "&lt;script&gt;alert(1)" in drawn


def test_every_page_is_made_with_autoescape() -> None:
    for path in sorted((HOME / "tasks").rglob("*.py")):
        text = path.read_text()
        if "Environment(" in text and ".html.j2" in text:
            assert "autoescape=True" in text and "autoescape=False" not in text, path
        for made in re.findall(r"Markup\(\s*(.*)", text):
            if path == _DRAWN and made.startswith('re.sub(r"<metadata>'):
                continue
            assert made.startswith(("'", '"', "base64.b64encode(")), f"{path}: Markup of what is no constant: {made}"
