"""`nightscope watch`: what a microscope writes into a folder lands by itself."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tasks.cli.intake import SplitName
from tasks.cli.output import AsJson, paper, print_json
from tasks.errors import ConfigError
from tasks.session import open_session


def watch(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The folder that the microscope writes to.")],
    study: Annotated[str | None, typer.Option(help="The study they belong to.")] = None,
    donor: Annotated[str | None, typer.Option(help="Whom all of them come from; better: a sidecar for each.")] = None,
    um_per_px: Annotated[float | None, typer.Option("--um-per-px", min=1e-6, help="Calibration: µm a pixel.")] = None,
    fps_hz: Annotated[float | None, typer.Option("--fps", min=1e-3, help="Frames a second, for image folders.")] = None,
    split: Annotated[SplitName | None, typer.Option(help="Pin their groups to a split.")] = None,
    pseudonym: Annotated[
        bool, typer.Option("--pseudonym", help="Replace donor and file names; only this machine knows which is whose.")
    ] = False,
    stills: Annotated[bool, typer.Option("--stills", help="Each picture is a sample of its own.")] = False,
    group_by: Annotated[
        str | None, typer.Option("--group-by", metavar="RULE", help="Which stills belong together, as for add.")
    ] = None,
    settle_s: Annotated[
        float, typer.Option("--settle", min=0, help="Seconds that a recording must stay as it is before it lands.")
    ] = 30.0,
    every_s: Annotated[float, typer.Option("--every", min=0.1, help="Seconds between two looks.")] = 10.0,
    once: Annotated[bool, typer.Option("--once", help="Look once, land what is finished, and end: for cron.")] = False,
    json_: AsJson = False,
) -> None:
    """Put what is new in a folder into the landing bucket, for as long as it runs.

    A recording lands when it has stayed as it is for --settle seconds, and no process of this machine has it open for
    writing. One that changes while it is read does not land until it stays; one that changes later lands again. What
    lies beside a recording as <name>.nightscope.json says what `add` takes as options (study, donor, um_per_px, split,
    fps_hz), of that recording alone. Nothing in the folder is changed. A journal in the state folder remembers what
    landed: ended anyhow and started again, the watch goes on, and nothing lands twice. While the server is away it
    waits, up to five minutes between two tries.

    With --once, exit code 1 if something was refused or the server did not answer.
    """
    from tasks.ingest.landing import metadata
    from tasks.operations.watch_folder import Grouping, Plan, watch_folder

    if group_by is not None and not stills:
        raise ConfigError("watch --group-by: is for stills", fix="say --stills, too; or --donor")
    if stills and fps_hz is not None:
        raise ConfigError("watch --stills: stills have no frames a second", fix="leave --fps out")
    said = metadata(study=study, donor=donor, um_per_px=um_per_px, fps_hz=fps_hz, split=split.value if split else None)
    plan = Plan(folder, said, settle_s, every_s, pseudonym, Grouping(group_by) if stills else None)
    with open_session() as session:
        watched = watch_folder(session, plan, once=once)
    if json_:
        print_json(watched)
    else:
        paper.print(f"{watched.landed} landed, {watched.refused} set aside, {watched.waiting} not finished yet")
    if watched.refused:
        raise typer.Exit(1)
