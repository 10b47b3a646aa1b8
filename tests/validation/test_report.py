"""The report works offline and tells an annotator what to fix."""

from __future__ import annotations

import re

from tasks.kinds import kind_of
from tasks.lake import Lake
from tasks.validation.validate import validate
from tests.validation.factory import a_box, a_line, a_recording, an_annotation, fill, good_lake, put_frame

DETECTION = kind_of("detection")


def report(lake: Lake) -> str:
    return lake.blobs.get_bytes(validate(lake, a_line(), DETECTION).report_oid).decode()


def test_it_needs_nothing_from_elsewhere(lake: Lake) -> None:
    good_lake(lake)
    html = report(lake)
    assert not re.search(r"https?://|<script|@import|url\(|<link|<img", html)
    assert "enough good data" in html


def test_it_says_what_to_fix_where_and_how(lake: Lake) -> None:
    good_lake(lake)
    recording = a_recording("<b>probe & co</b>", 9)
    frame = put_frame(lake, recording, 7)
    box = a_box(x=62)
    fill(lake, [recording], [frame], [an_annotation(frame, [a_box(), box], annotator="eve@lab")])
    html = report(lake)
    assert "eve@lab (1)" in html
    assert "&lt;b&gt;probe &amp; co&lt;/b&gt;.mp4 frame 7, object 2" in html
    assert "<b>" not in html
    assert "sticks 6.0 px out of the picture" in html
    assert "Draw it again inside the picture" in html
    assert "left 62.0, top 10.0" in html


def test_it_says_what_is_missing(lake: Lake) -> None:
    html = report(lake)
    assert "too little good data" in html
    assert "labels of class sperm: 0 of 3 (3 more needed)" in html
