"""`nightscope keys`: the keys that sign evidence and promotions."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from tasks.cli.output import AsJson, dump, paper, print_json, table
from tasks.session import open_session

app = typer.Typer(help="Keys by which evidence and orders are signed.", no_args_is_help=True)


@app.command("list")
def list_(json_: AsJson = False) -> None:
    """Show which public keys are trusted here, and which one signs. Write the fingerprints down elsewhere."""
    from tasks import operations

    with open_session() as session:
        report = dump(operations.list_keys(session))
    if json_:
        print_json(report)
        return
    rows = table("trusted keys", "fingerprint", "name", "since", "until", "endorsed by")
    for key in report["keys"]:
        until = key["retired"]["at"][:16] + (" (stolen)" if key["retired"]["stolen"] else "") if key["retired"] else "–"
        mark = " [bold](signs here)[/]" if key["fingerprint"] == report["signs"] else ""
        rows.add_row(key["fingerprint"] + mark, escape(key["name"]), key["added_at"][:16], until,
                     key["endorsed_by"] or "–")  # fmt: skip
    paper.print(rows)
    paper.print(f"[dim]in {escape(report['trusted_keys'])}; copy that file to who shall verify[/]")


@app.command("rotate")
def rotate(
    lost: Annotated[bool, typer.Option("--lost", help="The old private key is gone, and endorses nothing.")] = False,
    stolen: Annotated[
        bool, typer.Option("--stolen", help="Somebody else may have the old one: trust only its place in the evidence.")
    ] = False,
    json_: AsJson = False,
) -> None:
    """Make a new signing key. What the old one signed until now stays trusted; it signs nothing any more."""
    from tasks import operations

    with open_session() as session:
        report = dump(operations.rotate_key(session, lost=lost, stolen=stolen))
    if json_:
        print_json(report)
        return
    paper.print(f"signs from now on: [bold]{report['fingerprint']}[/], endorsed by {report['endorsed_by'] or 'nobody'}")
    paper.print("[dim]bring trusted-keys.json to your other machines: `nightscope keys trust FILE` there[/]")


@app.command("trust")
def trust(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Another machine's trusted-keys.json.")],
    fingerprint: Annotated[
        list[str] | None, typer.Option("--fingerprint", help="Of a key of it that nothing trusted here endorses.")
    ] = None,
    json_: AsJson = False,
) -> None:
    """Trust another machine's keys: those that a trusted key endorses, and those that you name."""
    from tasks import operations

    with open_session() as session:
        changed = [dump(key) for key in operations.trust_keys(session, file, tuple(fingerprint or ()))]
    if json_:
        print_json(changed)
        return
    for key in changed:
        paper.print(f"{'trusted' if key['active'] else 'rotated out'}: {key['fingerprint']} ({escape(key['name'])})")
    if not changed:
        paper.print("nothing new")
