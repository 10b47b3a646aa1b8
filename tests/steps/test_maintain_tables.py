"""The weekly step merges small files and says so."""

from __future__ import annotations

from tasks import steps
from tasks.lake import Lake
from tasks.schemas import Frame
from tasks.session import open_session
from tests.lake.nouns import frame


def test_it_says_what_it_would_do_and_what_it_did(installed: Lake) -> None:
    for number in range(3):
        installed.tables.append("frames", [frame(number)])
    with open_session() as session:
        assert steps.maintain_tables(session, dry_run=True).merged == {"frames": 3}
        assert steps.maintain_tables(session).merged == {"frames": 3}
        done = steps.maintain_tables(session)
    assert (done.merged, done.forgotten) == ({}, {})
    assert [row.frame_index for row in installed.tables.rows("frames", Frame)] == [0, 1, 2]
