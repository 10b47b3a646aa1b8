"""Setting aside twice is setting aside once."""

from __future__ import annotations

from tasks.lake import Lake, quarantine
from tests.lake.nouns import item


def test_setting_aside_is_idempotent(lake: Lake) -> None:
    assert quarantine.listed(lake) == []
    assert quarantine.set_aside(lake, [item(1), item(2), item(1)]) == 2
    assert quarantine.set_aside(lake, [item(2), item(3)]) == 1  # made at another moment, the same thing
    assert quarantine.set_aside(lake, []) == 0
    assert sorted(found.subject for found in quarantine.listed(lake)) == ["clip 1.mp4", "clip 2.mp4", "clip 3.mp4"]
    assert quarantine.listed(lake)[0].details == {"bytes": 1}


def test_a_line_sees_its_own_and_everybodys(lake: Lake) -> None:
    quarantine.set_aside(lake, [item(1), item(2, "a-line"), item(3, "b-line")])
    assert [found.subject for found in quarantine.listed(lake, "a-line")] == ["clip 1.mp4", "clip 2.mp4"]
