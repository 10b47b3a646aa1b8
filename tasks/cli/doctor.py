"""`nightscope doctor`: what is wrong with this installation, and what to do about it."""

from __future__ import annotations

from typing import Annotated

import typer

from tasks.cli.output import AsJson, escape, paper, print_json, screen

_MARKS = {"ok": "[green]ok[/]     ", "warning": "[yellow]warning[/]", "wrong": "[red]wrong[/]  ",
          "unknown": "[magenta]unknown[/]"}  # fmt: skip


def doctor(
    checks: Annotated[
        list[str] | None,
        typer.Argument(metavar="[CHECK...]", help="Only these: settings, s3, s3.keys, ...; default all."),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Leave out what is as it should be.")] = False,
    json_: AsJson = False,
) -> None:
    """Look what is wrong with this installation, and name the fix.

    Settings, state folder, programs, ports, services and their logins, what each S3 key opens, tables, keys that sign,
    evidence, locks, devices, lines, Airflow, MLflow, Label Studio, and what recent nights made of it. Nothing is
    changed: where a right is tried, a small object is written and removed again. No secret is shown. Exit code 1 if
    something is wrong, or could not be looked at (`unknown`); warnings leave it 0.
    """
    from tasks.operations.doctor import examine

    with screen.status("looking"):
        checkup = examine(names=checks or ())
    if json_:
        print_json(checkup)
    else:
        shown = [each for each in checkup.findings if not quiet or each.state != "ok"]
        for finding in shown:
            paper.print(f"{_MARKS[finding.state]}  [bold]{finding.check:<22}[/] {escape(finding.found)}")
            if finding.fix:
                paper.print(f"{'':<32} [dim]to fix:[/] {escape(finding.fix)}")
        counts = {state: sum(each.state == state for each in checkup.findings) for state in _MARKS}
        paper.print(
            ", ".join(f"{number} {state}" for state, number in counts.items() if number) or "nothing to look at"
        )
    if not checkup.healthy:
        raise typer.Exit(1)
