"""`nightscope synthesize`: recordings and pictures that nobody took, with exact labels; what the demo shows."""

from __future__ import annotations

import json
from collections.abc import Callable
from enum import StrEnum
from importlib import import_module
from pathlib import Path
from typing import Annotated

import typer

from tasks.cli.output import paper, screen
from tasks.errors import ConfigError
from tasks.schemas import Frozen

MORPHOLOGY_DONORS, CELL_DONORS, EXAMINATIONS = 40, 40, 40
"""So many that the test split, some 15% of them, has the five that a comparison needs."""


class Sample(Frozen):
    """A recording to be added, with what is known of it."""

    path: Path
    donor: str | None = None
    um_per_px: float | None = None


class What(StrEnum):
    """What can be simulated."""

    recordings = "recordings"
    morphology = "morphology"
    cells = "cells"
    ultrasound = "ultrasound"


_MOST = {What.recordings: 500, What.morphology: 20_000, What.cells: 20_000, What.ultrasound: 20_000}
_USUAL = {What.recordings: 6, What.morphology: 300, What.cells: 120, What.ultrasound: 200}
_DONORS = {What.morphology: MORPHOLOGY_DONORS, What.cells: CELL_DONORS, What.ultrasound: EXAMINATIONS}
_LIES = {
    What.morphology: "a folder for each class; labels.csv says more",
    What.cells: "images/, and a label image for each in masks/",
    What.ultrasound: "images/, and their boxes in annotations/instances.json",
}
"""How simulated pictures lie in their folder."""


def synthesize(
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="DIR",
            help="Where to write recordings/ and labels/, a folder for each class, or images/ and their labels.",
        ),
    ],
    what: Annotated[
        What,
        typer.Option(
            help="Recordings of swimming sperm, or pictures: single heads, normal and with defects; cells with masks; "
            "fetal ultrasound with boxes."
        ),
    ] = What.recordings,
    count: Annotated[
        int | None,
        typer.Option(
            min=1, help="How many recordings, each of another donor (6), or pictures (300; cells 120, ultrasound 200)."
        ),
    ] = None,
    frames: Annotated[int, typer.Option(min=1, help="Frames a recording.")] = 200,
    seed: Annotated[int, typer.Option(min=0, help="The same seed draws the same.")] = 0,
    first: Annotated[int, typer.Option(min=1, help="Number of the first; number 8 is the same however many.")] = 1,
    label_every: Annotated[int, typer.Option(min=1, help="Write labels of every so many-th frame.")] = 1,
) -> None:
    """Simulate recordings of swimming sperm, or pictures of single heads, cells or ultrasound, with exact labels.

    Recordings come with Pascal VOC files, frames numbered from 0. Pictures (--what morphology) lie in a folder for each
    class, named <donor>_<number>, with a table labels.csv that also says which defects each head has. Cells (--what
    cells) come as images/ and masks/: of each picture a label image, 0 the ground, 1, 2, ... the cells. Fetal
    ultrasound (--what ultrasound) comes as images/<examination>_<number>.png and annotations/instances.json (COCO).
    """
    wanted = count or _USUAL[what]
    if wanted > _MOST[what]:
        raise ConfigError(f"synthesize --count {wanted}", expected=f"at most {_MOST[what]} {what.value}")
    try:
        if what is not What.recordings:
            with screen.status(f"  0 of {wanted} pictures") as status:
                draw_pictures(
                    what, folder, count=wanted, seed=seed, first=first,
                    on_done=lambda done: status.update(f"  {done} of {wanted} pictures"),
                )  # fmt: skip
            paper.print(f"{wanted} pictures in {folder}, {_LIES[what]}")
            return
        made = make_samples(folder, count=wanted, frames=frames, seed=seed, first=first, label_every=label_every)
    except OSError as error:
        raise ConfigError(
            f"{folder}: cannot be written: {error.strerror or error}", fix="name another folder"
        ) from error
    paper.print(f"{len(made)} recordings in {folder / 'recordings'}, labels in {folder / 'labels'}")


def draw_pictures(
    what: What,
    folder: Path,
    *,
    count: int,
    seed: int = 0,
    first: int = 1,
    on_done: Callable[[int], None] = lambda done: None,
) -> None:
    """Write simulated pictures and their labels."""
    module = import_module(f"tasks.synthetic.{what.value}")
    module.write_pictures(folder, count=count, donors=_DONORS[what], seed=seed, first=first, on_done=on_done)


def make_samples(
    folder: Path, *, count: int, frames: int, seed: int, label_every: int, first: int = 1
) -> tuple[Sample, ...]:
    """Write synthetic recordings and VOC files of every `label_every`-th frame; finished ones are not made again."""
    from tasks.synthetic import make_recordings
    from tasks.synthetic.labels import write_voc

    done = folder / f"samples-{first}-{count}-{frames}-{seed}-{label_every}.json"
    made_before = _samples_in(done)
    if made_before is None:
        for other in folder.glob("samples-*.json"):  # what they say of these recordings is no longer true
            other.unlink()
        samples = []
        with screen.status(f"  0 of {count} recordings") as status:
            made = make_recordings(
                folder / "recordings", count=count, first=first, seed=seed, frames=frames, workers=2,
                on_done=lambda recording: status.update(f"  {recording.number - first + 1} of {count} recordings"),
            )  # fmt: skip
        for recording in made:
            for stale in (folder / "labels").glob(f"{recording.stem}_*.xml"):
                stale.unlink()
            write_voc(recording, folder / "labels", every=label_every)
            samples.append(Sample(path=recording.path, donor=recording.donor, um_per_px=recording.um_per_px))
        done.write_text(json.dumps([sample.model_dump(mode="json") for sample in samples]))
        made_before = tuple(samples)
    return made_before


def _samples_in(done: Path) -> tuple[Sample, ...] | None:
    """What was made before, if all of it is still there."""
    if not done.exists():
        return None
    samples = tuple(Sample.model_validate(sample) for sample in json.loads(done.read_text()))
    labels = done.parent / "labels"
    whole = all(s.path.is_file() and any(labels.glob(f"{s.path.stem}_*.xml")) for s in samples)
    return samples if whole else None
