"""`nightscope erase` and `nightscope pseudonyms`: erase a donor's data; look up the name behind a pseudonym."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from tasks.cli.output import AsJson, dump, escape, paper, print_json, screen, table
from tasks.session import open_session


def erase(
    donor: Annotated[str, typer.Option(help="The donor, as said to `add`, or the donor's pseudonym.")],
    reason: Annotated[str, typer.Option(help="Why; kept on the tombstone, without the donor's name.")],
    yes: Annotated[bool, typer.Option("--yes", help="Really do it; otherwise it only says what would go.")] = False,
    json_: AsJson = False,
) -> None:
    """Erase all data of a donor: recordings, frames, labels, reports, caches; a signed tombstone says what went.

    Without --yes nothing is changed, and it is said what would go. Models that learned from the donor stay, are listed,
    and their lines are trained again by their next night. Killed anywhere, run it again: it goes on. It waits for
    nothing: let it run while no night does.
    """
    from tasks import operations

    def progress(step: str) -> None:
        if yes:
            screen.print(f"  {step}")

    with open_session() as session:
        erasure = dump(operations.erase_donor(session, donor, reason, really=yes, progress=progress))
    if json_:
        print_json(erasure)
        return
    _print(erasure)
    if not erasure["erased"]:
        paper.print("\nNothing was changed. To erase all of this for good, say it again with [bold]--yes[/].")


def pseudonyms(
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME...]", help="Pseudonyms or clear names.")] = None,
    json_: AsJson = False,
) -> None:
    """Say which name is behind a pseudonym, or the other way round; all that this machine knows without a NAME."""
    from tasks import operations

    with open_session() as session:
        resolved = operations.resolve_names(session, names or [])
    if json_:
        print_json(resolved)
        return
    rows = table("pseudonyms", "pseudonym", "clear name")
    for name in resolved:
        rows.add_row(escape(name.pseudonym), escape(name.clear))
    paper.print(rows)


def _print(erasure: dict[str, Any]) -> None:
    rows = table("erased" if erasure["erased"] else "would be erased", "what", "how many")
    for what, count in erasure["counts"].items():
        rows.add_row(escape(what), str(count))
    paper.print(rows)
    for name in erasure["recordings"]:
        paper.print(f"  {escape(name)}")
    for model in erasure["models"]:
        paper.print(
            f"  learned from it: model version {escape(model['version'])} of line {escape(model['line'])} "
            f"({escape(model['why'])}); its weights stay"
        )
    for line in erasure["lines"]:
        paper.print(f"  line {escape(line)} is marked for retraining: its next night trains without the donor")
    for sentence in erasure["not_reached"]:
        paper.print(f"  [dim]not reached:[/] {escape(sentence)}")
    paper.print(f"  tombstone: {escape(erasure['tombstone'])}")
