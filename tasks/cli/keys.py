"""The keys by which evidence and orders are signed: `keys list`, `keys rotate`, `keys trust`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from tasks.cli.output import AsJson, paper, print_json, table

app = typer.Typer(help="Keys by which evidence and orders are signed.", no_args_is_help=True)


@app.command("list")
def list_(json_: AsJson = False) -> None:
    """Show which public keys are trusted here, and which one signs. Write the fingerprints down elsewhere."""
    from tasks import steps

    told = steps.list_keys()
    if json_:
        print_json(told)
        return
    rows = table("trusted keys", "fingerprint", "name", "since", "until", "endorsed by")
    for key in told["keys"]:
        until = key["retired"]["at"][:16] + (" (stolen)" if key["retired"]["stolen"] else "") if key["retired"] else "–"
        mark = " [bold](signs here)[/]" if key["fingerprint"] == told["signs"] else ""
        rows.add_row(key["fingerprint"] + mark, escape(key["name"]), key["added_at"][:16], until,
                     key["endorsed_by"] or "–")  # fmt: skip
    paper.print(rows)
    paper.print(f"[dim]in {escape(told['trusted_keys'])}; copy that file to who shall verify[/]")


@app.command("rotate")
def rotate(
    lost: Annotated[bool, typer.Option("--lost", help="The old private key is gone, and endorses nothing.")] = False,
    stolen: Annotated[
        bool, typer.Option("--stolen", help="Somebody else may have the old one: trust only its place in the evidence.")
    ] = False,
    json_: AsJson = False,
) -> None:
    """Make a new signing key. What the old one signed until now stays trusted; it signs nothing any more."""
    from tasks import steps

    told = steps.rotate_key(lost=lost, stolen=stolen)
    if json_:
        print_json(told)
        return
    paper.print(f"signs from now on: [bold]{told['fingerprint']}[/], endorsed by {told['endorsed_by'] or 'nobody'}")
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
    from tasks import steps

    changed = steps.trust_keys(file, tuple(fingerprint or ()))
    if json_:
        print_json(changed)
        return
    for key in changed:
        paper.print(f"{'trusted' if key['active'] else 'rotated out'}: {key['fingerprint']} ({escape(key['name'])})")
    if not changed:
        paper.print("nothing new")
