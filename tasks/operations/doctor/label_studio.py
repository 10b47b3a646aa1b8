"""Label Studio: our token, and the lines' projects."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from tasks.config import Line
from tasks.errors import ConfigError, NightscopeError
from tasks.operations.doctor.findings import Finding, check, ok, wrong
from tasks.operations.doctor.patient import Patient

if TYPE_CHECKING:
    from tasks.labeling.client import LabelStudio


@check("label-studio.token")
def token(patient: Patient) -> Iterator[Finding]:
    """Our token is accepted."""
    from tasks.labeling.client import LabelStudio

    if not patient.settings.label_studio.url:
        return
    try:
        with LabelStudio(patient.settings.label_studio) as client:
            number = client.user_id()
    except ConfigError as error:
        yield wrong(error.thing, error.fix or "set NIGHTSCOPE_LABEL_STUDIO__TOKEN")
    else:
        yield ok(f"we are user {number}")


@check("label-studio.projects")
def projects(patient: Patient) -> Iterator[Finding]:
    """The project of each line that was synced is there, and shows frames from the frames' bucket."""
    from tasks.labeling.client import LabelStudio

    if not patient.settings.label_studio.url:
        return
    with LabelStudio(patient.settings.label_studio) as client:
        for name in patient.session.line_names():
            try:
                line = patient.session.line(name)
            except NightscopeError:
                continue  # the lines' own check says so
            yield from _project(patient, client, line)


def _project(patient: Patient, client: LabelStudio, line: Line) -> Iterator[Finding]:
    from tasks.labeling import state

    known = state.load(patient.session.lake, line.line).project_id
    if known is None:
        return  # never synced: its first night makes it
    project = client.project(known)
    if project is None:
        yield wrong(
            f"line {line.line}: its project {known} is gone from Label Studio, and its annotations with it",
            "restore Label Studio's database from a backup; the next sync makes an empty one",
        )
        return
    bucket = patient.session.lake.frames.store.bucket
    if any(storage.get("bucket") == bucket for storage in client.s3_storages(known)):
        yield ok(f"line {line.line}: project {known}")
    elif project.labeling_tasks == 0:
        yield ok(f"line {line.line}: project {known}, which holds no pictures yet")
    else:
        yield wrong(
            f"line {line.line}: project {known} has no storage for bucket {bucket!r}: annotators see no pictures",
            f"nightscope step sync-annotations {line.line} connects it",
        )
