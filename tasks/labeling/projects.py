"""The one Label Studio project of a line, and the storage through which it shows images.

A project belongs to a line by a mark in its description, which survives renaming. Making one twice is impossible: it is
looked for first, by one process at a time (the sync holds the line's lock), and a project whose making was cut off
is found like any other.

Images lie in the frames' bucket of the lake. Browsers fetch them by presigned URLs, good for minutes, that Label
Studio makes from `s3://` addresses. Where the S3 server is, and with which keys, Label Studio must know from its own
environment (`S3_ENDPOINT`, `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`): an endpoint given with the storage would be
refused when it is private. These keys need to read the frames' bucket, and nothing else.
"""

from __future__ import annotations

from dataclasses import replace

from tasks.config import Line
from tasks.errors import ConfigError
from tasks.kind import Kind
from tasks.labeling.answers import Project
from tasks.labeling.client import LabelStudio
from tasks.labeling.label_config import IMAGE, Shown, label_config
from tasks.lake import Lake

_TITLE_LENGTH = 50
_PRESIGN_MINUTES = 10
# The storage is for looking at images, not for scanning: its "Sync" button must not make every blob a labeling task.
_NOTHING = r"(?!)"
_STORAGE_TITLE = "Nightscope frames (images only, do not sync)"


def ensure_project(
    client: LabelStudio, line: Line, known_id: int | None, shown: Shown | None = None, *, kind: Kind
) -> Project:
    """The line's project, made if there is none, with the labeling config that its classes imply.

    A change that Label Studio refuses is left undone and said in the project's `refused`: annotators go on with the
    config there is.

    Args:
        client: Label Studio.
        line: The model line.
        known_id: Where the last sync found it.
        shown: What its labels were given last, see `label_config`.
        kind: Of the line.
    """
    project = _find(client, line, known_id)
    if project is None:
        created = client.create_project(_title(line), _description(line), label_config(line, kind=kind))
        project = client.project(created)
        if project is None:
            raise ConfigError(f"Label Studio: project {created} of line {line.line} vanished while it was made")
    return _with_classes(client, line, kind, project, shown)


def _with_classes(client: LabelStudio, line: Line, kind: Kind, project: Project, shown: Shown | None) -> Project:
    """The project after its config was made to offer the line's classes, as far as Label Studio lets us."""
    try:
        wanted = label_config(line, project.label_config, kind=kind, keep=project.annotations > 0, shown=shown)
    except ConfigError as error:
        refused = str(error)
    else:
        if wanted == project.label_config:
            return project
        said = client.change_label_config(project.project_id, wanted)
        if said is None:
            return replace(project, label_config=wanted)
        refused = said
    return replace(
        project,
        refused=f"the classes of line {line.line} could not be put into Label Studio's project {project.project_id}, "
        f"whose labeling config stays as it is: {refused}; to fix: open its Settings, Labeling Interface, Code and "
        f"make the labels {', '.join(line.classes)}, or finish or delete the answers it names; until then, what is "
        "labelled with other classes is set aside",
    )


def ensure_storage(client: LabelStudio, project: Project, lake: Lake) -> None:
    """Connect the frames' bucket to the project, so that its images can be shown."""
    bucket = lake.frames.store.bucket
    if any(storage.get("bucket") == bucket for storage in client.s3_storages(project.project_id)):
        return
    lake.frames.store.ensure_bucket()
    try:
        client.create_s3_storage(
            project.project_id,
            title=_STORAGE_TITLE,
            bucket=bucket,
            region_name=lake.settings.s3.region,
            regex_filter=_NOTHING,
            use_blob_urls=True,
            presign=True,
            presign_ttl=_PRESIGN_MINUTES,
        )
    except ConfigError as error:
        raise ConfigError(
            f"{error.thing}: Label Studio cannot reach the bucket {bucket!r}",
            fix="start Label Studio with S3_ENDPOINT, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in its environment, "
            "of a key that reads this bucket",
        ) from error


def move_images(client: LabelStudio, project: Project, lake: Lake) -> int:
    """Have labeling tasks of an older release show the frames' bucket instead of the lake's, which holds all blobs.

    Killed in between, the next sync goes on: the storage that marks the older release goes last. Only what the lake
    knows as a frame is copied: whoever may make labeling tasks could name a recording, or what was never there.

    Returns:
        How many labeling tasks were changed.
    """
    old = f"s3://{lake.store.bucket}/"
    storages = [each for each in client.s3_storages(project.project_id) if each.get("bucket") == lake.store.bucket]
    if not storages or lake.store.bucket == lake.frames.store.bucket:
        return 0
    ensure_storage(client, project, lake)
    frames = set(lake.tables.scan("frames", columns=["oid"]).column("oid").to_pylist())
    heads = [
        head
        for head in client.task_heads(project.project_id)
        if str(head.data.get(IMAGE)).startswith(old) and str(head.data.get("frame_oid")) in frames
    ]
    faults = lake.frames.publish(str(head.data["frame_oid"]) for head in heads)
    heads = [head for head in heads if str(head.data["frame_oid"]) not in faults]  # these show nothing before or after
    for head in heads:
        client.change_task_data(head.task_id, head.data | {IMAGE: lake.frames.uri(str(head.data["frame_oid"]))})
    for storage in storages:
        client.delete_s3_storage(int(storage["id"]))
    return len(heads)


def _find(client: LabelStudio, line: Line, known_id: int | None) -> Project | None:
    if known_id is not None:
        project = client.project(known_id)
        # Both can be edited by people, but hardly both at once; neither = another server, where the id means nothing.
        if project is not None and (_mark(line) in project.description or project.title == _title(line)):
            return project
    marked = [project_id for project_id, description in client.projects() if _mark(line) in description]
    return client.project(marked[0]) if marked else None


def _title(line: Line) -> str:
    """At least 3 and at most 50 characters, as Label Studio wants it."""
    room = _TITLE_LENGTH - len(line.line) - 3
    return f"{line.title[:room]} ({line.line})" if line.title and room > 0 else line.line


def _description(line: Line) -> str:
    return f"Frames of the model line {line.line}, kept in step by Nightscope. Please leave this mark: {_mark(line)}"


def _mark(line: Line) -> str:
    return f"[nightscope-line:{line.line}]"
