"""`nightscope add`, `nightscope labels import` and `labels fill`: recordings and labels that exist already."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tasks.cli.output import AsJson, dump, escape, paper, print_json, screen
from tasks.errors import ConfigError
from tasks.session import open_session

if TYPE_CHECKING:
    from tasks.ingest.stills.adding import StillsReport

_SOME = 5


class SplitName(StrEnum):
    """Where a group of recordings may be pinned."""

    train = "train"
    val = "val"
    test = "test"


def add(
    paths: Annotated[
        list[str], typer.Argument(metavar="PATH...", help="Videos, tif stacks, folders; of stills also zip, s3://.")
    ],
    stills: Annotated[bool, typer.Option("--stills", help="Each picture is a sample of its own.")] = False,
    group_by: Annotated[
        str | None,
        typer.Option(
            "--group-by",
            metavar="RULE",
            help="Which stills belong together: folder, csv:COLUMN, csv:FILE:COLUMN, or a regular expression whose "
            "first group names them.",
        ),
    ] = None,
    study: Annotated[str | None, typer.Option(help="The study they belong to.")] = None,
    donor: Annotated[
        str | None, typer.Option(help="The person or animal they come from; a split keeps it whole.")
    ] = None,
    um_per_px: Annotated[float | None, typer.Option("--um-per-px", min=1e-6, help="Calibration: µm a pixel.")] = None,
    fps_hz: Annotated[float | None, typer.Option("--fps", min=1e-3, help="Frames a second, for image folders.")] = None,
    split: Annotated[SplitName | None, typer.Option(help="Pin the group to a split, for an official test set.")] = None,
    pseudonym: Annotated[
        bool, typer.Option("--pseudonym", help="Replace donor and file names; only this machine knows which is whose.")
    ] = False,
    readmit: Annotated[
        bool, typer.Option("--readmit", help="The donor was erased, and comes again: let the recordings in.")
    ] = False,
    json_: AsJson = False,
) -> None:
    """Put recordings into the landing bucket; the next night takes them in.

    A PATH is a video (mp4, avi, mov, mkv), a tif stack, a folder of images (one recording), or a folder of those.
    Damaged files are accepted here and set aside with their reason by the night. Exit code 1 if anything was refused.

    With --stills, a PATH is a folder, a ZIP or s3://bucket/prefix, and each picture in it (png, jpg, bmp, tif, webp) is
    a sample of its own; other files are passed over. What --group-by finds is kept as the donor, whom a split keeps
    whole; without it each picture is a group of its own.
    """
    from tasks import operations

    if stills:
        if fps_hz is not None:
            raise ConfigError("add --stills: stills have no frames a second", fix="leave --fps out")
        with screen.status("packing pictures into the landing bucket"), open_session() as session:
            packed = operations.add_stills(
                session,
                paths,
                group_by=group_by,
                study=study,
                donor=donor,
                um_per_px=um_per_px,
                split=split.value if split else None,
                pseudonyms=pseudonym,
                readmit=readmit,
            )
        _show_stills(packed, json_)
        return
    if group_by is not None:
        raise ConfigError("add --group-by: is for stills", fix="say --stills, too; or --donor")
    if buckets := [path for path in paths if path.startswith("s3://")]:
        raise ConfigError(f"add {buckets[0]}: only stills are taken from a bucket", fix="say --stills, too")
    with screen.status("copying into the landing bucket"), open_session() as session:
        report = operations.add_recordings(
            session,
            [Path(path) for path in paths],
            study=study,
            donor=donor,
            um_per_px=um_per_px,
            fps_hz=fps_hz,
            split=split.value if split else None,
            pseudonyms=pseudonym,
            readmit=readmit,
        )
    if json_:
        print_json(report)
    else:
        for accepted in report.accepted:
            paper.print(escape(f"accepted  {accepted.path}  →  {accepted.key}"))
        for refused in report.refused:
            paper.print(escape(f"refused   {refused.path}: {refused.reason}"))
    if report.refused or not report.accepted:
        raise typer.Exit(1)


def _show_stills(report: StillsReport, as_json: bool) -> None:
    if as_json:
        print_json(report)
    else:
        there = len(report.accepted) - report.new
        paper.print(
            f"{report.new} pictures landed in {report.batches} batches, {there} were there already; "
            f"{report.groups} groups; {report.passed_over} other files passed over"
        )
        if report.masks:
            paper.print(f"{report.masks} masks (by their names) were left out; nightscope labels import takes them")
        if report.absent:
            some = ", ".join(report.absent[:_SOME])
            paper.print(escape(f"the CSV names {len(report.absent)} files that are not here: {some} ..."))
        for refused in report.refused:
            paper.print(escape(f"refused   {refused.path}: {refused.reason}"))
    if report.refused or not report.accepted:
        raise typer.Exit(1)


def import_labels(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder with the label files; a table, or a ZIP.")],
    format_: Annotated[
        str,
        typer.Option(
            "--format",
            help="What they are; of a detection line: voc, coco or yolo; of a classification line: folders or csv; of "
            "a segmentation line: masks, coco or yolo.",
        ),
    ],
    line: Annotated[str, typer.Option(help="The line whose annotators' work this becomes.")],
    frame_base: Annotated[
        int | None,
        typer.Option(min=0, max=1, help="Number of a video's first frame in the file names; default: found out."),
    ] = None,
    json_: AsJson = False,
) -> None:
    """Bring existing labels into Label Studio, as annotations on the right frames.

    VOC and YOLO files are named <recording stem>_<frame> (or _frame_<frame>); COCO names its images so. In a folder of
    images, a label belongs to the picture of its own name, or to the one that has its number in its name. With
    `folders`, a picture's class is the name of its folder, else a word of its own name. With `csv`, a table names the
    files and has a column `label`, or one for each class (1, 0, empty where nobody judged it). With `masks`, a label
    image (an id for each cell) is named like its picture (a.png, a_masks.png), or <id>/masks/ holds one mask for each
    cell of the picture in <id>/images/.

    Recordings that wait in the landing bucket are ingested first; frames that were not sampled are extracted. Exit code
    1 if any file found no recording or frame, or could not be read.
    """
    from tasks import operations

    if not folder.exists():
        raise ConfigError(f"{folder}: is not there", fix="name the folder that holds the label files")
    with screen.status("ingesting what is new, then importing labels"), open_session() as session:
        report = dump(operations.import_labels(session, line, folder, format_, frame_base))
    if json_:
        print_json(report)
    else:
        paper.print(f"{report['annotations']} annotations from {report['matched']} labelled frames")
        if report["crowds"]:
            paper.print(f"{report['crowds']} of the boxes mark crowds: never learned or scored as one object")
        for item in report["unmatched"]:
            paper.print(escape(f"unmatched  {item['file']}: {item['reason']}"))
    if report["unmatched"]:
        raise typer.Exit(1)


def fill_labels(
    line: Annotated[str, typer.Argument(metavar="LINE", help="The line whose champion fills.")],
    device: Annotated[str, typer.Option(help="Where the champion runs: cpu, cuda:0.")] = "cpu",
    json_: AsJson = False,
) -> None:
    """Have the line's champion outline what annotators only boxed.

    For each box "to be filled", a mask goes to Label Studio as a prediction of its labeling task, beside what people
    drew there. The annotator takes it over or corrects it; no annotation is changed. Until then the picture is not
    learned from. Running it again adds nothing; a newer champion's masks take the place of the older ones.
    """
    from tasks import operations

    with screen.status("fetching labels, then filling boxes"), open_session() as session:
        report = operations.fill_labels(session, line, device)
    if json_:
        print_json(report)
    else:
        paper.print(
            f"{report.filled} of {report.objects} boxes in {report.annotations} annotations are filled, by version "
            f"{report.model_version}; {report.predictions} predictions are new, {report.replaced} older ones went"
        )
        for fault in report.faults:
            paper.print(escape(f"labeling task {fault['labeling_task']}: {fault['reason']}"))
    if report.faults:
        raise typer.Exit(1)
