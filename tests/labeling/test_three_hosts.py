"""Labels that are edited while three machines pull them: every machine's pull is one after the other, nothing twice."""

from __future__ import annotations

import uuid
from pathlib import Path

from tasks.config import LabelStudioSettings, Line
from tasks.kinds import kind_of
from tasks.labeling.client import LabelStudio
from tasks.labeling.sync import sync
from tasks.lake import Lake, open_lake
from tasks.schemas import Annotation
from tests.hosts import host, run_on
from tests.labeling.annotators import Annotator, box, film, labeling_tasks
from tests.postgres import PostgresServer

FRAMES, EDITS = 4, 24

PULL = """
    from tasks.errors import TransportError
    from tasks.kinds import kind_of
    from tasks.labeling.sync import sync
    from tests.labeling.annotators import a_line

    print("ready", flush=True)
    for _ in range(5):
        try:
            sync(lake, a_line({line!r}), kind_of("detection"))
        except TransportError as error:
            print("again", type(error).__name__, flush=True)
"""


def test_edits_while_three_machines_pull(
    lake: Lake, line: Line, client: LabelStudio, label_studio: LabelStudioSettings, postgres: PostgresServer,
    tmp_path: Path,
) -> None:  # fmt: skip
    uri = postgres.database(f"test-{uuid.uuid4().hex[:12]}")
    hosts = [host(lake.settings, uri, tmp_path / name) for name in ("one", "two", "three")]
    here = open_lake(hosts[0])
    film(here, line, frames=FRAMES)
    running = [run_on(own, PULL.format(line=line.line)) for own in hosts]
    assert [process.line() for process in running] == ["ready"] * 3
    sync(here, line, kind_of("detection"))  # a fourth, which also makes the project where it is first
    annotator = Annotator(label_studio)
    drawn = {task: annotator.draw(task, box(10, 10)) for task in labeling_tasks(client, line).values()}
    for number in range(EDITS):
        task = list(drawn)[number % FRAMES]
        annotator.redraw(drawn[task], box(10 + number, 20))
        if number == EDITS // 2:
            postgres.ask(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'nightscope%%'"
                " AND datname = %s", uri.rpartition("/")[2],
            )  # fmt: skip
    for process in running:
        process.rest(timeout_s=300)
    sync(here, line, kind_of("detection"))

    rows = here.tables.rows("annotations", Annotation, {"line": line.line})
    ids = [row.revision_id for row in rows]
    assert len(ids) == len(set(ids)), "a revision is there twice"
    newest = {row.labeling_task_id: row.objects[0]["x_px"] for row in rows if row.state == "active"}
    last = {list(drawn)[number % FRAMES]: 10 + number for number in range(EDITS)}
    assert {task: round(x_px) for task, x_px in newest.items()} == last
    assert sorted(labeling_tasks(client, line)) == list(range(FRAMES)), "a frame is shown once"
    assert sync(here, line, kind_of("detection")).revisions == 0
