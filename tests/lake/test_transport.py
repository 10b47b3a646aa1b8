from __future__ import annotations

from xml.etree import ElementTree

import pytest

from tasks.lake.transport import _as_xml


@pytest.mark.parametrize(
    ("inside", "text"),
    [
        (b"a&#x1B;b", "a\ufffdb"), (b"a&#27;b", "a\ufffdb"), (b"a\x01b", "a\ufffdb"), (b"a\xffb", "a\ufffdb"),
        (b"a&#xD800;b", "a\ufffdb"), (b"a&#x110000;b", "a\ufffdb"), (b"a\xef\xbf\xbeb", "a\ufffdb"),
        ("ü &amp; &#228;\t".encode(), "ü & ä\t"), (b"&#x10FFFF;", "\U0010ffff"),
    ],
)  # fmt: skip
def test_what_xml_cannot_hold_is_replaced_and_the_rest_stays(inside: bytes, text: str) -> None:
    assert ElementTree.fromstring(_as_xml(b"<Key>" + inside + b"</Key>")).text == text
