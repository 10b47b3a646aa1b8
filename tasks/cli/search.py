"""`nightscope search`: which values of a line's recipe are best, by trying them; and what came of it."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from contextlib import redirect_stdout
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from tasks.cli.output import (
    AsJson,
    Changes,
    Dataset,
    Line,
    check_writable,
    dump,
    escape,
    paper,
    parse_changes,
    print_json,
    screen,
    show_error,
    table,
)
from tasks.errors import ConfigError
from tasks.session import Session, open_session


class Sampler(StrEnum):
    """How values are drawn."""

    grid = "grid"
    random = "random"
    tpe = "tpe"


class Pruner(StrEnum):
    """What ends a trial early."""

    median = "median"
    none = "none"


Space = Annotated[
    str | None,
    typer.Option(
        "--space", metavar="FILE", help="YAML: recipe key: \\[values], or {low, high, log, step}. Or that YAML itself."
    ),
]
Trials = Annotated[
    int | None, typer.Option("--trials", metavar="N", min=1, help="How many; default 20, or the whole grid.")
]
SamplerOption = Annotated[Sampler, typer.Option("--sampler", help="How values are drawn.")]
Seed = Annotated[int, typer.Option("--seed", min=0, help="Of the drawing; the training's own is --set seed=N.")]
Name = Annotated[
    str | None,
    typer.Option("--name", help="Of the search; one that is there goes on. Default: follows from what is asked."),
]
Parallel = Annotated[int, typer.Option("--max-parallel", metavar="N", min=1, help="Trials in flight.")]
Metric = Annotated[str | None, typer.Option("--metric", help="That decides; default the kind's main one.")]
Slice = Annotated[str | None, typer.Option("--slice", help="Of the metric, e.g. class.sperm; default overall.")]
PrunerOption = Annotated[
    Pruner | None, typer.Option("--pruner", help="What ends hopeless trials early; default median where it can.")
]
Report = Annotated[Path | None, typer.Option("--report", metavar="FILE", help="Write the HTML report there, too.")]
Show = Annotated[bool, typer.Option("--show", help="Run nothing: show a search (--name; default the last one).")]
ListThem = Annotated[bool, typer.Option("--list", help="Run nothing: list the line's searches.")]
Promote = Annotated[
    bool, typer.Option("--promote-winner", help="Then run the night with the winner's values: the gates decide.")
]


def search(
    line: Line,
    space: Space = None,
    trials: Trials = None,
    sampler: SamplerOption = Sampler.tpe,
    set_: Changes = None,
    max_parallel: Parallel = 1,
    seed: Seed = 0,
    name: Name = None,
    metric: Metric = None,
    slice_: Slice = None,
    pruner: PrunerOption = None,
    dataset: Dataset = None,
    report: Report = None,
    show: Show = False,
    list_: ListThem = False,
    promote_winner: Promote = False,
    json_: AsJson = False,
) -> None:
    """Train LINE's recipe with many values, measure each on the validation split, and name the best.

    The test split is not touched: the winner's values go through a night like any others. A search that was killed
    goes on where it was. Exit code 1 when a trial failed: the others are kept, and running again does only that one.
    """
    from tasks import experiments

    if list_:
        return _list(line, json_)
    check_writable(report, "--report")
    with redirect_stdout(sys.stderr), open_session() as session:
        if space is None:
            if not show and not promote_winner:
                raise ConfigError(f"search of line {line}: there is no space to search", fix="say --space FILE")
            found = experiments.find_summary(session, line, name)
        else:
            found = experiments.run_search(
                session, line, parse_changes(set_), _space(space), sampler=sampler.value, trials=trials, seed=seed,
                search=name, metric=metric, where=slice_, pruner=pruner.value if pruner else None,
                dataset_version=dataset, max_parallel=max_parallel,
            )  # fmt: skip
        result = dump(found)
        _write_report(session, result, report)
    if promote_winner:
        return _promote(result, json_)
    if json_:
        print_json(result)
    else:
        _show(result)
    if not result["complete"]:
        raise typer.Exit(1)
    return None


def _space(given: str) -> Any:
    """The space's data, from a file or from the text itself."""
    from tasks import experiments

    path = Path(given)
    is_text = ":" in given and path.suffix != ".yaml"
    if is_text:
        return experiments.read_space(given, "--space")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"--space {given}: cannot be read: {error}", expected="a YAML file, or YAML") from error
    return experiments.read_space(text, given)


def _write_report(session: Session, result: Mapping[str, Any], path: Path | None) -> None:
    if path is not None:
        data = session.lake.blobs.get_bytes(result["report_oid"])
        try:
            path.write_bytes(data)
        except OSError as error:
            raise ConfigError(f"{path}: cannot be written: {error.strerror or error}", fix="say --report") from error
        screen.print(f"report: {escape(str(path))}")


def _promote(result: dict[str, Any], json_: bool) -> None:
    """The ordinary night with the winner's values; the search stands beside it."""
    from tasks.cli.night import finish, run_night

    if not result["complete"] or result["best"] is None:
        show_error(
            ConfigError(
                f"search {result['search']}: has trials that did not finish, so there is no winner yet",
                fix="run the search again: only those are done",
            )
        )
        raise typer.Exit(1)
    if not json_:
        _show(result)
    finish(run_night(result["line"], {"from_search": result["best"]["trial"]}), json_)


def _list(line: str, json_: bool) -> None:
    from tasks import experiments

    with redirect_stdout(sys.stderr), open_session() as session:
        found = [dump(each) for each in experiments.list_searches(session, line)]
    if json_:
        return print_json(found)
    rows = table(f"searches of {line}", "name", "begun (UTC)", "sampler", "trials", "metric", "keys")
    for each in found:
        keys = escape(", ".join(each["space"]))
        rows.add_row(each["name"], each["at"][:16], each["sampler"], str(each["trials"]), each["metric"], keys)
    return paper.print(rows)


def _show(result: Mapping[str, Any]) -> None:
    what = " of ".join(filter(None, (result["metric"], result["where"])))
    ended = [trial for trial in result["trials"] if trial["state"] in ("complete", "pruned")]
    how = f"{result['sampler']}, seed {result['seed']}, dataset {result['dataset_version'][:12]}"
    of = f"{len(ended)} of {len(result['trials'])} trials"
    paper.print(f"[bold]{result['line']}[/], search [bold]{result['search']}[/]: {of}, {how}")
    rows = table("on the validation split", "trial", "state", what, *map(escape, result["space"]), "seconds")
    sign = -1 if result["better"] == "higher" else 1
    order = sorted(result["trials"], key=lambda t: (t["value"] is None, sign * (t["value"] or 0), t["number"]))
    for trial in order:
        values = [escape(_text(trial["params"].get(key, ""))) for key in result["space"]]
        state = {"pruned": "ended early"}.get(trial["state"], trial["state"])
        seconds = "" if trial["seconds"] is None else f"{trial['seconds']:.0f}"
        rows.add_row(str(trial["number"]), state, _text(trial["value"]), *values, seconds)
    paper.print(rows)
    if result["importances"]:
        shares = ", ".join(f"{key} {share:.0%}" for key, share in result["importances"].items())
        paper.print(escape(f"  what mattered ({result['importances_by']}): {shares}"))
    for text in result["warnings"]:
        paper.print(escape(f"  note: {text}"))
    paper.print(f"  [dim]report:[/] {result['report']}")
    paper.print(f"  [dim]MLflow run:[/] {result['mlflow_run']}")
    if best := result["best"]:
        paper.print(f"[bold green]best:[/] trial {best['number']}, {what} {_text(best['value'])}. {result['notice']}")
        paper.print("  " + escape(result["command"]))
        paper.print(f"  or, noted in the evidence: nightscope run {result['line']} --from-search {best['trial']}")
    for trial in result["trials"]:
        if trial["state"] not in ("complete", "pruned"):
            screen.print(f"[bold red]trial {trial['number']} {trial['state']}:[/] {escape(trial['why'] or '')}")
    if not result["complete"]:
        screen.print("  [dim]to fix:[/] mend the cause and run the same again: only what is missing is done")


def _text(value: Any) -> str:
    if value is None:
        return "–"
    return f"{value:.4g}" if isinstance(value, float) else str(value).lower() if isinstance(value, bool) else str(value)
