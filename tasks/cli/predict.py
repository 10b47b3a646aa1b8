"""`nightscope predict`: what a model says of pictures, folders and videos."""

from __future__ import annotations

import csv
import json
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer

from tasks.cli.output import AsJson, Line, escape, screen
from tasks.errors import ConfigError
from tasks.escaping import csv_cell, json_safe
from tasks.session import open_session

if TYPE_CHECKING:
    from tasks.operations.predicting.files import Predicted, Unreadable
    from tasks.operations.predicting.loading import LoadedModel

Device = Annotated[str, typer.Option("--device", metavar="DEVICE", help="cpu, cuda:0, ...; auto: the best there is.")]
ModelVersion = Annotated[
    str | None, typer.Option("--version", metavar="VERSION", help="Of the line's model; default the champion.")
]


def predict(
    line: Line,
    paths: Annotated[
        list[Path], typer.Argument(metavar="PATH...", help="Pictures, videos, TIFF stacks, or folders of them.")
    ],
    version: ModelVersion = None,
    csv_: Annotated[Path | None, typer.Option("--csv", metavar="FILE", help="Where to write; default stdout.")] = None,
    every: Annotated[int, typer.Option(min=1, metavar="N", help="Of videos and stacks every N-th frame.")] = 1,
    min_score: Annotated[
        float | None, typer.Option(min=0, max=1, help="Leave out what scores lower; default: as the line says.")
    ] = None,
    device: Device = "cpu",
    json_: AsJson = False,
) -> None:
    """Predict with LINE's champion: a CSV with a row for each thing found, or for each picture that was classified.

    A frame that shows nothing has one row with empty values. A file that cannot be read is named on stderr, the rest
    goes on, and the exit code is 1. FILE is there when all is done, and never half.
    """
    from tasks.operations.predicting.files import WHERE, predict_files
    from tasks.operations.predicting.loading import load_model

    with open_session() as session, _written_to(csv_) as out:
        with redirect_stdout(sys.stderr):
            loaded = load_model(session, line, version, None if device == "auto" else device)
        results = predict_files(loaded, paths, session.settings.ingest, every=every, min_score=min_score)
        write = _write_json if json_ else _write_csv
        unreadable = write(out, (*WHERE, *loaded.columns), loaded, results)
    if unreadable:
        raise typer.Exit(1)


def _write_csv(
    out: TextIO, columns: tuple[str, ...], loaded: LoadedModel, results: Iterable[Predicted | Unreadable]
) -> int:
    """Write a table as it comes; returns how many files were unreadable."""
    table = csv.writer(out, lineterminator="\n")
    table.writerow(columns)
    bad = 0
    for result in results:
        rows = _rows_of(result)
        if rows is not None:
            table.writerows([csv_cell(row.get(name)) for name in columns] for row in rows)
        else:
            bad += 1
    return bad


def _write_json(
    out: TextIO, columns: tuple[str, ...], loaded: LoadedModel, results: Iterable[Predicted | Unreadable]
) -> int:
    """Write one document as it comes; returns how many files were unreadable."""
    head = {"line": loaded.line.line, "kind": loaded.kind.name, "model_version": loaded.record.version,
            "columns": columns}  # fmt: skip
    out.write(json.dumps(head)[:-1] + ', "predictions": [')
    bad: list[dict[str, Any]] = []
    before = "\n"
    for result in results:
        rows = _rows_of(result)
        if rows is not None:
            for row in rows:
                out.write(before + json_safe(json.dumps(row, ensure_ascii=False)))
                before = ",\n"
        else:
            bad.append({"file": result.file, "reason": getattr(result, "reason", "")})
    out.write('], "unreadable": ' + json_safe(json.dumps(bad, ensure_ascii=False)) + "}\n")
    return len(bad)


def _rows_of(result: Predicted | Unreadable) -> Iterable[dict[str, Any]] | None:
    """The rows of a file; None, aloud, where it could not be read."""
    from tasks.operations.predicting.files import Unreadable

    if isinstance(result, Unreadable):
        screen.print(f"[bold red]unreadable:[/] {escape(result.file)}: {escape(result.reason)}")
        return None
    return result.rows


@contextmanager
def _written_to(path: Path | None) -> Iterator[TextIO]:
    """A file, which is there as a whole at the end and not before; or stdout, or what is no file (a pipe), as it comes.

    What an earlier run left stays as it is until then, also where this one is interrupted or killed.
    """
    if path is None:
        yield sys.stdout
        return
    whole = path.exists() and not path.is_file()
    part = path if whole else path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        file = part.open("w", encoding="utf-8", newline="")
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written: {error.strerror or error}", fix="say --csv") from error
    try:
        with file:
            yield file
        if not whole:
            part.replace(path)
    except BaseException:
        if not whole:
            part.unlink(missing_ok=True)
        raise
