"""`nightscope audit pair`, `clear`, `clears`, `revoke`: what a person decides about a pair that the audit refused."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from tasks.cli.output import AsJson, Line, dump, escape, paper, print_json, table
from tasks.errors import ConfigError
from tasks.session import open_session

Pair = Annotated[str, typer.Argument(metavar="PAIR", help="The pair's id: the audit and its refusals show it.")]
Note = Annotated[str, typer.Option("--note", help="Why; it is recorded with your name.")]


def pair(
    line: Line,
    pair: Pair,
    out: Annotated[Path | None, typer.Option(help="Write the report with the pair's pictures to this file.")] = None,
    json_: AsJson = False,
) -> None:
    """Show a pair of recordings that an audit of LINE refused: why, what people decided, and the pictures."""
    from tasks import operations

    with open_session() as session:
        refused = operations.refused_pair(session, line, pair)
        if out is not None:
            write_report(out, operations.read_audit_report(session, refused.report_oid))
    shown = dump(refused)
    if json_:
        print_json(shown)
        return
    finding = shown["finding"]
    paper.print(f"[bold]pair {pair}[/] of line {escape(line)}: kind {finding['kind']}", soft_wrap=True)
    for name in ("one", "other"):
        paper.print(escape(f"  {side_text(finding[name])}, {finding[name]['group']}"))
    paper.print(escape(f"  {finding['why']}"))
    for event in (shown["history"] or {}).get("events", ()):
        _show_event(event)
    if out is not None:
        paper.print(escape(f"report: {out.resolve()}"))
    else:
        paper.print(f"[dim]report with pictures:[/] {shown['report']} (--out FILE saves it)")
    if not shown["clearable"]:
        paper.print("It is the same by name or by its bytes: nobody can clear it.")
    elif not (shown["history"] or {}).get("active"):
        paper.print(f"If they only look alike: [bold]nightscope audit clear {escape(line)} {pair} --note 'why'[/]")


def clear(line: Line, pair: Pair, note: Note, json_: AsJson = False) -> None:
    """Decide that a pair of recordings, which an audit of LINE refused for how they look, are not copies.

    Audits let exactly this pair pass from now on, for this kind of finding; every audit, dataset record and evidence
    bundle that rests on it shows your name and your note. What is the same by name or by its bytes cannot be cleared.
    """
    from tasks import operations

    with open_session() as session:
        made = dump(operations.clear_pair(session, line, pair, note=note))
    if json_:
        print_json(made)
        return
    paper.print(f"[bold]cleared[/] pair {pair} of line {escape(line)} ({made['kind']}): {escape(_names(made))}")
    _show_event(made["events"][-1])
    paper.print(f"run it again: nightscope run {escape(line)} [dim](taken back by: nightscope audit revoke)[/]")


def list_(line: Line, json_: AsJson = False) -> None:
    """List which pairs of LINE people cleared: who, when and why, what was revoked, and which files do not count."""
    from tasks import operations

    with open_session() as session:
        known = dump(operations.list_clears(session, line))
    if json_:
        print_json(known)
        return
    rows = table("", "pair", "kind", "recordings", "by", "at", "note", "state")
    rows.columns[0].no_wrap = True
    for own in known["clears"]:
        state = "active" if own["active"] else f"revoked by {own['revoked']['by']}: {own['revoked']['note']}"
        rows.add_row(
            own["pair_id"], own["kind"], escape(_names(own)), escape(own["by"]), own["at"][:16], escape(own["note"]),
            escape(state),
        )  # fmt: skip
    if known["clears"]:
        paper.print(rows)
    else:
        paper.print("nobody cleared anything")
    for own in known["ignored"]:
        paper.print(f"[bold yellow]ignored:[/] {escape(own['key'])} clears nothing: {escape(own['why'])}")


def revoke(line: Line, pair: Pair, note: Note, json_: AsJson = False) -> None:
    """Take a clear back: audits of LINE refuse the pair again. Models that were trained meanwhile stay."""
    from tasks import operations

    with open_session() as session:
        made = dump(operations.revoke_clear(session, line, pair, note=note))
    if json_:
        print_json(made)
        return
    paper.print(f"[bold]revoked[/]: pair {pair} of line {escape(line)} is refused again: {escape(_names(made))}")
    _show_event(made["events"][-1])


def side_text(side: dict[str, Any]) -> str:
    """One side of a finding on one line."""
    return f"{side['recording_name']} frame {side['frame_index']} ({side['split']})"


def write_report(path: Path, page: bytes) -> None:
    """Write a report to a file that the user named."""
    try:
        path.write_bytes(page)
    except OSError as error:
        raise ConfigError(
            f"{path}: cannot be written: {error.strerror or error}", fix="name another file by --out"
        ) from error


def _names(clear: dict[str, Any]) -> str:
    return " and ".join(
        name or f"recording {oid[:12]}" for name, oid in zip(clear["names"], clear["recordings"], strict=True)
    )


def _show_event(event: dict[str, str]) -> None:
    done = "cleared" if event["action"] == "clear" else "revoked"
    paper.print(escape(f"  {done} by {event['by']} at {event['at'][:16]}: {event['note']}"))
