"""Who decided what, from what, and does it still hold: `evidence`, `verify`."""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from typing import Annotated, Any

import typer

from tasks.cli.output import AsJson, Line, dump, escape, paper, print_json, table
from tasks.errors import ConfigError
from tasks.escaping import plain_text
from tasks.session import open_session

Version = Annotated[str | None, typer.Argument(metavar="[VERSION]", help="A model version; default: the whole chain.")]


def evidence(
    line: Line,
    number: Annotated[int | None, typer.Option("--number", "-n", help="One bundle of the chain, as JSON.")] = None,
    card: Annotated[bool, typer.Option("--card", help="The newest model card, as Markdown.")] = False,
    version: Annotated[str | None, typer.Option("--version", help="With --card: of this model version.")] = None,
    json_: AsJson = False,
) -> None:
    """List LINE's chain of evidence: each verdict, promotion and rollback, and the hash of its bundle."""
    from tasks import operations

    if card and number is not None:
        raise ConfigError("--number and --card: one of them at a time")
    with open_session() as session:
        if card:
            print(operations.read_card(session, line, version).decode())
            return
        if number is not None:
            print_json(operations.read_bundle(session, line, number))
            return
        links = [dump(entry) for entry in operations.list_evidence(session, line)]
    if json_:
        print_json(links)
        return
    rows = table(f"evidence of {line}", "no.", "at", "action", "outcome", "model", "by", "note", "signed by", "bundle")
    for link in links:
        rows.add_row(
            str(link["number"]), link["at"][:16], link["action"], link["outcome"], link["model_version"] or "–",
            escape(plain_text(link["by"] or "–")), escape(plain_text(link["note"])),
            link["signature"]["key"][:16] if link["signature"] else "unsigned", link["bundle_oid"][:16],
        )  # fmt: skip
    paper.print(rows)
    head = links[-1]
    paper.print(f"head: no. {head['number']} {head['bundle_oid']}")
    paper.print(
        f"[dim]Write it down outside this machine: `nightscope verify {line} --head {head['bundle_oid'][:8]}…` "
        "then tells whether the chain was rewritten.[/]"
    )


def verify(
    line: Line,
    version: Version = None,
    quick: Annotated[bool, typer.Option("--quick", help="Read no recordings and no frames.")] = False,
    head: Annotated[str | None, typer.Option(help="A bundle's hash that you wrote down.")] = None,
    without_mlflow: Annotated[
        bool, typer.Option("--without-mlflow", help="The lake alone: no aliases, no served weights.")
    ] = False,
    json_: AsJson = False,
) -> None:
    """Read LINE's evidence and all it names again, compute it again, and say what no longer holds (then exit 1)."""
    from tasks import operations

    with redirect_stdout(sys.stderr), open_session() as session:
        mlflow = not without_mlflow
        report = dump(operations.verify_evidence(session, line, version, quick=quick, head=head, mlflow=mlflow))
    if json_:
        print_json(report)
    else:
        _show(report)
    if not report["holds"]:
        raise typer.Exit(1)


def _show(report: dict[str, Any]) -> None:
    from tasks.evidence.checks.findings import CAUSES

    of = f", model version {report['model_version']}" if report["model_version"] else ""
    checked = dict(report["checked"])
    megabytes = checked.pop("bytes", 0) / 1e6
    counts = ", ".join(f"{count} {what}" for what, count in checked.items())
    for finding in report["findings"]:
        touched = f" [dim](evidence {', '.join(map(str, finding['bundles']))})[/]" if finding["bundles"] else ""
        paper.print(f"[bold red]{finding['cause']}[/] {escape(plain_text(finding['thing']))}{touched}")
        paper.print(f"  [dim]expected:[/] {escape(plain_text(finding['expected']))}")
        paper.print(f"  [dim]found:[/]    {escape(plain_text(finding['found']))}")
    for cause in sorted({finding["cause"] for finding in report["findings"]}):
        paper.print(f"[dim]{cause}: {CAUSES[cause]}[/]")
    for note in report["notes"]:
        paper.print(f"[dim]note: {escape(plain_text(note))}[/]")
    if report["holds"]:
        paper.print(f"[bold green]holds[/]: {report['line']}{of}, evidence 1 to {report['number']}")
    else:
        paper.print(f"[bold red]{len(report['findings'])} no longer hold[/]: {report['line']}{of}")
    for key, numbers in sorted(report["signed_by"].items()):
        paper.print(f"signed by {key}: evidence {numbers}")
    if report["unsigned"]:
        paper.print(f"[bold yellow]{report['unsigned']} unsigned[/], from before signing")
    paper.print(f"checked: {counts}; {megabytes:.1f} MB in {report['seconds']:.1f} s")
    if report["head"]:
        paper.print(f"head: {report['head']}")
