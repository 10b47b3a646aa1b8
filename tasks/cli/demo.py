"""`nightscope demo`: the whole loop on one machine."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import Field
from rich.panel import Panel

from tasks.cli import models, night, stack
from tasks.cli.output import Changes, escape, paper, parse_changes, screen
from tasks.cli.synthesize import Sample, What, draw_pictures, make_samples
from tasks.config import Settings, load_settings
from tasks.errors import ConfigError, NotFound
from tasks.schemas import Frozen, NightState, Split

SAMPLES = 10
SAMPLE_TEST = ("swim-06", "swim-07", "swim-08", "swim-09", "swim-10")
"""Pinned to the test split: five donors are the fewest that can show a difference at 95% confidence."""


class DemoLine(StrEnum):
    """A shipped line that has simulated data of its own."""

    detector = "sperm-detector"
    morphology = "sperm-morphology"
    cells = "cell-segmenter"
    ultrasound = "fetal-ultrasound"


class PictureDemo(Frozen):
    """How a line of pictures is shown.

    Attributes:
        what: Is drawn.
        count: How many of it.
        drawing: The headline.
        pictures: Where they lie below the folder.
        labels: As `pictures`: what is imported.
        label_format: What it is.
        group: What of a picture's name says which of them belong together, a pattern.
        study: That the line learns from.
        changes: What the demo's night changes of the line, to end in minutes.
    """

    what: What
    count: int
    drawing: str
    pictures: str = "."
    labels: str = "."
    label_format: str
    group: str = r"(D\d+)_"
    study: str
    changes: dict[str, Any] = Field(default_factory=dict)


PICTURE_DEMOS = {
    DemoLine.morphology: PictureDemo(
        what=What.morphology, count=300, drawing="single heads, normal and with defects, and what is not a sperm",
        label_format="folders", study="morphology",
    ),
    DemoLine.cells: PictureDemo(
        what=What.cells, count=120, drawing="cells, with their exact masks", pictures="images",
        label_format="masks", study="cells", changes={"recipe": "two-stage-tiny"},
    ),
    DemoLine.ultrasound: PictureDemo(
        what=What.ultrasound, count=200, drawing="fetal ultrasound, with exact boxes", pictures="images",
        labels="annotations", label_format="coco", group=r"(E\d+)_", study="ultrasound",
    ),
}  # fmt: skip


def demo(
    line: Annotated[DemoLine, typer.Option(help="Which of the lines that ship.")] = DemoLine.detector,
    recordings: Annotated[Path | None, typer.Option(help="Your own recordings, instead of simulated ones.")] = None,
    labels: Annotated[Path | None, typer.Option(help="Their label files.")] = None,
    format_: Annotated[str, typer.Option("--format", help="What they are: voc, coco or yolo.")] = "voc",
    test: Annotated[list[str] | None, typer.Option(help="Stem of a recording to pin to the test split.")] = None,
    frame_base: Annotated[int | None, typer.Option(min=0, max=1, help="See `labels import`.")] = None,
    set_: Changes = None,
) -> None:
    """Start the stack, bring recordings and labels in, run the night, and show who is in charge.

    Leaves the stack up; `nightscope down` ends it. Running it again finds nothing new and says so.
    """
    if (recordings is None) != (labels is None):
        raise ConfigError("demo: --recordings and --labels go together", fix="give both, or neither")
    shown = PICTURE_DEMOS.get(line)
    if shown and (recordings or test):
        raise ConfigError(
            f"demo --line {line.value}: shows simulated pictures only",
            fix="bring pictures of your own with `nightscope add --stills` (docs/stills.md)",
        )
    for folder in (recordings, labels):
        if folder is not None and not folder.is_dir():
            raise ConfigError(f"{folder}: is no folder", fix="name the folder that holds the files")
    source = {"recordings": str(recordings.resolve()) if recordings else "synthetic"}
    source |= {} if line is DemoLine.detector else {"line": line.value}
    make_room_for(load_settings(), source)
    changes = (shown.changes if shown else {}) | parse_changes(set_)
    _headline("1/5", "starting the embedded stack")
    stack.start_with_progress()
    settings = load_settings()
    (settings.state_dir / "demo.json").write_text(json.dumps(source))
    folder = settings.state_dir / "demo"
    if shown:
        _bring_pictures(line, shown, folder / "pictures")
    elif recordings is None or labels is None:
        _headline("2/5", "simulating recordings of swimming sperm, with exact labels")
        samples = make_samples(folder, count=SAMPLES, frames=150, seed=0, label_every=12)
        _bring_recordings(settings, samples, list(SAMPLE_TEST), folder / "labels", "voc", 0)
    else:
        _headline("2/5", f"your recordings: {recordings}")
        samples = tuple(Sample(path=path) for path in sorted(recordings.iterdir()) if not path.name.startswith("."))
        _bring_recordings(settings, samples, test or [], labels, format_, frame_base)
    _headline("5/5", "the night, in Airflow")
    report = night.run_night(line.value, changes)
    night.show(report)
    _closing(settings, line.value)
    if report["state"] == NightState.FAILED:
        raise typer.Exit(1)


def _bring_recordings(
    settings: Settings, samples: Sequence[Sample], test: Sequence[str], labels: Path, label_format: str,
    frame_base: int | None,
) -> None:  # fmt: skip
    _headline("3/5", "into the landing bucket")
    add_all(settings, samples, test)
    _headline("4/5", "labels into Label Studio, as an annotator's work")
    _import(DemoLine.detector, labels, label_format, frame_base)


def _bring_pictures(line: DemoLine, shown: PictureDemo, folder: Path) -> None:
    """Draw pictures, and bring them and their labels in."""
    from tasks import operations
    from tasks.session import open_session

    _headline("2/5", f"drawing {shown.drawing}")
    draw_pictures(shown.what, folder, count=shown.count)
    _headline("3/5", "into the landing bucket")
    with open_session() as session:
        added = operations.add_stills(session, [str(folder / shown.pictures)], group_by=shown.group, study=shown.study)
    screen.print(f"  {added.new} pictures in {added.groups} groups")
    _headline("4/5", "labels into Label Studio, as an annotator's work")
    _import(line, folder / shown.labels, shown.label_format, None)


def make_room_for(settings: Settings, source: dict[str, str]) -> None:
    """A demo on other recordings starts with an empty lake: the last demo's state is put aside, never mixed or deleted.

    Raises:
        ConfigError: The state there is not a demo's.
    """
    marker, state = settings.state_dir / "demo.json", settings.state_dir
    landed = state / "s3-landing" / settings.s3.landing_bucket
    if not any(landed.rglob("*")) or (marker.exists() and json.loads(marker.read_text()) == source):
        return
    if not marker.exists():
        raise ConfigError(
            f"demo: the state in {state} was not made by a demo, and may hold real work",
            fix="set NIGHTSCOPE_STATE_DIR to another folder for the demo, or use `nightscope add` and `nightscope run`",
        )
    stack.stop_quietly()
    number = 1
    while (aside := state.with_name(f"{state.name}-demo-{number}")).exists():
        number += 1
    aside.mkdir(mode=0o700)
    for entry in state.iterdir():
        if entry.name != "envs":
            shutil.move(entry, aside / entry.name)
    screen.print(f"the last demo was on other recordings: its state is now in {aside}")


def add_all(settings: Settings, samples: Sequence[Sample], test: Sequence[str]) -> None:
    """Put every recording into the landing bucket, those whose stem is in `test` pinned to the test split.

    Raises:
        ConfigError: A stem in `test` has no recording.
        NotFound: No recording was accepted.
    """
    from tasks.ingest.landing import add as into_landing
    from tasks.lake import open_lake

    stems = sorted(sample.path.stem for sample in samples)
    if missing := sorted(set(test) - set(stems)):
        raise ConfigError(f"TEST names no recording: {', '.join(missing)}", expected=", ".join(stems))
    lake = open_lake(settings)
    accepted = 0
    for sample in samples:
        split: Split | None = "test" if sample.path.stem in test else None
        report = into_landing(
            lake, [sample.path], study="demo", donor=sample.donor, um_per_px=sample.um_per_px, split=split
        )
        accepted += len(report.accepted)
        for refused in report.refused:
            screen.print(escape(f"  refused {refused.path}: {refused.reason}"))
    if not accepted:
        raise NotFound("no recording", expected="mp4, avi, mov, mkv, tif stacks or folders of images")
    screen.print(f"  {accepted} recordings")


def _import(line: DemoLine, labels: Path, label_format: Any, frame_base: int | None) -> None:
    from tasks import operations
    from tasks.session import open_session

    with screen.status("  ingesting, then importing labels"), open_session() as session:
        report = operations.import_labels(session, line.value, labels, label_format, frame_base)
    screen.print(f"  {report.annotations} annotations on {report.matched} frames")
    for item in report.unmatched:
        screen.print(escape(f"  unmatched {item['file']}: {item['reason']}"))


def _headline(number: str, text: str) -> None:
    screen.print(f"[bold cyan]{number}[/] {text}")


def _closing(settings: Settings, line: str) -> None:
    try:
        models.champion(line)
    except NotFound:
        paper.print(f"[bold]{line}[/]: no champion yet")
    paper.print(Panel.fit(stack.where_things_are(settings), title="the stack stays up; `make down` ends it"))
