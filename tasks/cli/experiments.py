"""Experiments with a line's recipe that change nothing: `cross-validate`, `reproduce`."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from contextlib import redirect_stdout
from typing import Annotated, Any

import typer

from tasks.cli.output import (
    AsJson,
    Changes,
    Dataset,
    Line,
    dump,
    escape,
    paper,
    parse_changes,
    print_json,
    screen,
    table,
)
from tasks.session import open_session

Folds = Annotated[int, typer.Option("--folds", metavar="K", min=2, help="How many; at most one for each donor.")]
Seed = Annotated[int, typer.Option("--seed", min=0, help="Of the folds; the training's own is --set seed=N.")]
ModelVersion = Annotated[
    str | None, typer.Argument(metavar="[VERSION]", help="Of the line's model; default the champion.")
]


def cross_validate(
    line: Line, folds: Folds = 5, set_: Changes = None, seed: Seed = 0, dataset: Dataset = None, json_: AsJson = False
) -> None:
    """Train and test LINE's recipe K times, each donor (else recording) tested once by a model that never saw it.

    Exit code 1 when a fold failed: the others are kept and summed up, and running again does only what is missing.
    """
    from tasks import experiments

    changes = parse_changes(set_)
    with redirect_stdout(sys.stderr), open_session() as session:
        result = experiments.cross_validate(session, line, changes, folds=folds, seed=seed, dataset_version=dataset)
    report = dump(result)
    if json_:
        print_json(report)
    else:
        _show_folds(report)
    if not report["complete"]:
        raise typer.Exit(1)


def reproduce(line: Line, version: ModelVersion = None, json_: AsJson = False) -> None:
    """Train a model of LINE again from nothing, and compare the weights byte for byte.

    Exit code 1 when they are not the same: then it says which tensor differs first, and what is known to be the cause.
    """
    from tasks import experiments

    with redirect_stdout(sys.stderr), open_session() as session:
        report = dump(experiments.reproduce(session, line, version))
    if json_:
        print_json(report)
    else:
        _show_reproduction(report)
    if not report["same"]:
        raise typer.Exit(1)


def _show_folds(report: Mapping[str, Any]) -> None:
    folds = report["folds"]
    done = [fold for fold in folds if fold["state"] == "finished"]
    paper.print(
        f"[bold]{report['line']}[/]: {len(done)} of {len(folds)} folds, recipe {report['recipe']['name']}, "
        f"dataset {report['dataset_version'][:12]}"
    )
    percent = f"{report['confidence']:.0%}"
    names = [f"fold {fold['fold']}" for fold in folds]
    rows = table("on donors that the model has not seen", "", "where", "mean", f"{percent} interval", "sd", *names)
    for score in report["scores"]:
        digits = score["digits"]
        bounds = " to ".join(_number(score[end], digits) for end in ("low", "high"))
        numbers = [_number(value, digits) for value in (score["sd"], *score["folds"])]
        where = escape(score["where"] or "all")
        rows.add_row(score["title"], where, _number(score["mean"], digits), bounds, *numbers)
    paper.print(rows)
    for fold in folds:
        size = f"{fold['train_frames']} frames to train, {fold['test_frames']} to test" if fold in done else ""
        tested = f"tests {', '.join(fold['groups'])}"
        paper.print(escape(f"  fold {fold['fold']}: {'; '.join(part for part in (size, tested) if part)}"))
    for text in report["warnings"]:
        paper.print(escape(f"  note: {text}"))
    paper.print(f"  [dim]MLflow run:[/] {report['mlflow_run']}")
    for fold in folds:
        if fold["state"] != "finished":
            screen.print(f"[bold red]fold {fold['fold']} {fold['state']}:[/] {escape(fold['why'])}")
    if not report["complete"]:
        screen.print("  [dim]to fix:[/] mend the cause and run the same again: only what is missing is done")


def _show_reproduction(report: Mapping[str, Any]) -> None:
    colour = "green" if report["same"] else "red"
    paper.print(f"[bold {colour}]{'the same' if report['same'] else 'not the same'}[/]: {escape(report['sentence'])}")
    for name in ("run_key", "weights_oid", "again_oid"):
        paper.print(f"  [dim]{name.replace('_', ' ')}:[/] {report[name]}")
    comparison = report["comparison"] or {}
    for which in ("first", "largest"):
        if found := comparison.get(which):
            paper.print(
                f"  {which} difference: {found['name']}, {found['differing']} of {found['elements']} elements, "
                f"by {found['largest_difference']} at most (its largest element: {found['largest_value']})",
                markup=False,
            )
    for name in report["prevented_by"]:
        paper.print(escape(f"  no deterministic implementation: {name}"))
    for item in report["circumstances"]:
        paper.print(escape(f"  not as it was: {item['what']}: {item['then']} then, {item['now']} now"))


def _number(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:.{digits}f}"
