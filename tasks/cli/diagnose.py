"""`nightscope diagnose`: where a model fails, and what to do next."""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Annotated, Any

import typer

from tasks.cli.evaluate import TestSplitOf
from tasks.cli.output import AsJson, Line, check_writable, dump, escape, paper, print_json, screen, table
from tasks.cli.predict import ModelVersion
from tasks.errors import ConfigError
from tasks.session import open_session


def diagnose(
    line: Line,
    version: ModelVersion = None,
    dataset: TestSplitOf = None,
    learning_curve: Annotated[
        bool,
        typer.Option(
            "--learning-curve", help="Train on 25, 50, 75 and 100 % of the groups, too: would more data help?"
        ),
    ] = False,
    seeds: Annotated[int, typer.Option("--seeds", min=1, help="Trainings for each share of the learning curve.")] = 3,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="The report; default ./LINE-diagnosis.html.")
    ] = None,
    json_: AsJson = False,
) -> None:
    """Say where LINE's champion, or a version, fails: errors and their costs, labels, slices, threshold; what to do.

    It ends with three sentences, the most valuable first. Without --learning-curve it trains nothing. Exit code 1 when
    a training of the curve failed: the others are kept, and running again does only what is missing.
    """
    from tasks import experiments

    check_writable(out, "--out")
    with redirect_stdout(sys.stderr), open_session() as session:
        found = experiments.diagnose(
            session, line, version, dataset_version=dataset, learning_curve=learning_curve, seeds=seeds
        )
    path = out or Path(f"{line}-diagnosis.html")
    try:
        path.write_text(found.report_html, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written: {error.strerror or error}", fix="say --out") from error
    report = dump(found) | {"report": str(path.resolve())}
    if json_:
        print_json(report)
    else:
        _show(report)
    if report["learning_curve"] and not report["learning_curve"]["complete"]:
        raise typer.Exit(1)


def _show(found: dict[str, Any]) -> None:
    main = found["main"]
    value = "–" if main["value"] is None else f"{main['value']:.{main['digits']}f}"
    paper.print(
        f"[bold]{found['line']}[/]: model version [bold]{found['model_version']}[/], {main['title']} {value} on "
        f"{found['images']} test images of {main['groups']} groups (dataset {found['dataset_version'][:12]})"
    )
    if found["errors"]:
        errors = table("errors", "", "count", "cost at most")
        for error in found["errors"]:
            errors.add_row(escape(error["title"]), str(error["count"]), f"{error['cost']:.3f}")
        paper.print(errors)
    if found["slices"]:
        slices = table("weakest slices", "", "labels", "metric", "value", "the whole")
        for one in found["slices"][:6]:
            numbers = (f"{one[key]:.3f}" for key in ("value", "overall"))
            slices.add_row(escape(f"{one['family']} {one['name']}"), str(one["labels"]), one["metric"], *numbers)
        paper.print(slices)
    _show_rest(found)
    for number, advice in enumerate(found["advice"], 1):
        paper.print(f"  [bold]{number}.[/] {escape(advice['sentence'])}")
    paper.print(escape(f"  report: {found['report']}"))


def _show_rest(found: dict[str, Any]) -> None:
    own = found["threshold"]
    if own:
        gain = "" if own["gain"] is None else f"; one chosen on other groups brings {own['gain']:+.3f}"
        paper.print(f"  threshold {own['shipped']:.2f}: F1 {own['shipped_F1']:.3f}; best {own['best']:.2f}{gain}")
    noise = found["label_noise"]
    paper.print(
        f"  labels to look at again: {sum(noise['counts'].values())} of {noise['labels']} on {noise['frames']} images"
    )
    if found["training"] and found["training"]["plateau"]:
        paper.print(escape(f"  training: {found['training']['plateau']}"))
    curve = found["learning_curve"]
    for point in curve["points"] if curve else ():
        value = "–" if point["value"] is None else f"{point['value']:.3f}"
        paper.print(
            f"  {point['groups']} groups, seed {point['seed']}: {curve['metric']} {value}, {point['steps']} steps"
        )
        if point["why"]:
            screen.print(f"[bold red]{point['groups']} groups, seed {point['seed']} failed:[/] {escape(point['why'])}")
    for text in found["not_run"]:
        paper.print(escape(f"  not run: {text}"))
