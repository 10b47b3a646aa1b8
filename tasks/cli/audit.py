"""`nightscope audit`: does anything of one split stand in another, and who cleared what only looks as if it did?"""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from tasks.cli import clears
from tasks.cli.clears import side_text, write_report
from tasks.cli.output import AsJson, dump, escape, paper, print_json, table
from tasks.session import open_session

_SHOWN = 20


class _RunByDefault(TyperGroup):
    """`audit LINE` is short for `audit run LINE`, which also serves a line that is named like one of the commands."""

    default_command = "run"

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and args[0] not in ctx.help_option_names:
            args = [self.default_command, *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    cls=_RunByDefault,
    no_args_is_help=True,
    help="Look for leaks between the splits of a dataset: `audit LINE`, short for `audit run LINE`. Pairs of "
    "recordings that it refuses for how they look can be cleared by a person: `audit pair`, `audit clear`, `audit "
    "clears`, `audit revoke`. Where nothing is frozen yet, labels are validated first, and what is wrong with them is "
    "set aside.",
)
app.command("pair")(clears.pair)
app.command("clear")(clears.clear)
app.command("clears")(clears.list_)
app.command("revoke")(clears.revoke)


@app.command("run")
def audit(
    name: Annotated[str, typer.Argument(metavar="LINE|VERSION", help="A line, or a dataset version's hash.")],
    json_: AsJson = False,
    demonstrate: Annotated[
        bool, typer.Option("--demonstrate", help="Train twice, split by frame and by recording: what leakage buys.")
    ] = False,
    out: Annotated[Path | None, typer.Option(help="Write the report with the pairs' pictures to this file.")] = None,
) -> None:
    """Look for leaks between the splits of LINE's newest dataset, or of a dataset VERSION.

    Exit code 1 when something leaks. Every training asks the same before it starts. A pair that was found by how it
    looks has an id: `nightscope audit clear LINE PAIR --note ...` clears it. Where nothing is frozen yet, LINE's labels
    are validated first, as in a night: what is wrong with them is set aside (nightscope quarantine LINE).
    """
    from tasks import experiments, operations

    with redirect_stdout(sys.stderr), open_session() as session:
        audited = operations.audit_dataset(session, name)
        report = dump(audited)
        if demonstrate and audited.passed:
            version = audited.dataset_version
            shown = experiments.demonstrate_leakage(session, audited.line, dataset_version=version)
            report["demonstration"] = dump(shown)
        if out is not None:
            write_report(out, operations.read_audit_report(session, audited.report_oid))
    if json_:
        print_json(report)
    else:
        _show(report)
        if out is not None:
            paper.print(escape(f"report: {out.resolve()}"))
    if not report["passed"]:
        raise typer.Exit(1)


def _show(report: dict[str, Any]) -> None:
    version = report["dataset_version"]
    what = f"dataset {version[:12]}" if version else "what would be frozen now"
    paper.print(
        f"[bold]{report['line']}[/], {what}: {report['frames']} frames of {report['recordings']} recordings, "
        f"{report['suspects']} suspected pairs looked at closely"
    )
    if report["passed"]:
        paper.print("[bold green]no leak found[/]")
    else:
        _show_findings(report)
    _show_cleared(report)
    for ignored, why in report["ignored_clears"]:
        paper.print(f"[bold yellow]ignored:[/] {escape(ignored)} clears nothing: {escape(why)}")
    for name, why in report["not_compared"]:
        paper.print(escape(f"not compared as a clip: {name}: {why}"))
    paper.print(f"[dim]report with pictures:[/] {report['report']} (--out FILE saves it)")
    if "demonstration" in report:
        _show_demonstration(report["demonstration"])


def _show_findings(report: dict[str, Any]) -> None:
    count = len(report["findings"])
    inconclusive = sum(finding["kind"] == "inconclusive" for finding in report["findings"])
    leaks = f"{count - inconclusive} leak{'' if count - inconclusive == 1 else 's'}"
    leaks += f", {inconclusive} not ruled out" if inconclusive else ""
    paper.print(f"[bold red]{leaks}[/]; a training on this is refused")
    rows = table("", "pair", "kind", "one", "other", "why")
    rows.columns[0].no_wrap = True
    for finding in report["findings"][:_SHOWN]:
        sides = (escape(side_text(finding[name])) for name in ("one", "other"))
        rows.add_row(_clearable_id(report, finding), finding["kind"], *sides, escape(finding["why"]))
    paper.print(rows)
    if count > _SHOWN:
        paper.print(f"and {count - _SHOWN} more (--json lists all)")
    if ids := sorted({own for own in (_clearable_id(report, one) for one in report["findings"]) if own}):
        pair = ids[0] if len(ids) == 1 else "PAIR"
        paper.print(
            "If a pair only looks alike, having looked at its pictures: "
            f"[bold]nightscope audit clear {escape(report['line'])} {pair} --note 'why'[/]"
        )


def _clearable_id(report: dict[str, Any], finding: dict[str, Any]) -> str:
    """The pair's id, where a person can clear it."""
    from tasks.leakage.pair_id import CLEARABLE

    return finding["pair_id"] if finding["kind"] in CLEARABLE and report["settled"] else ""


def _show_cleared(report: dict[str, Any]) -> None:
    count = len(report["cleared_by_people"])
    if not count:
        return
    looks = "1 pair looks the same, and was" if count == 1 else f"{count} pairs look the same, and were"
    paper.print(f"[bold yellow]{looks} cleared by a person[/]")
    for own in report["cleared_by_people"]:
        finding, clear = own["finding"], own["clear"]
        sides = " and ".join(side_text(finding[name]) for name in ("one", "other"))
        paper.print(escape(f"  {clear['pair_id']} ({finding['kind']}): {sides}: {finding['why']}"))
        paper.print(escape(f"  cleared by {clear['by']} at {clear['at'][:16]}: {clear['note']}"))


def _show_demonstration(found: dict[str, Any]) -> None:
    """Both scores side by side: what a split by frame promises, and what one by recording measures."""
    for title, rows in (
        ("the same data and recipe, each split tested on its own frames", found["scores"]),
        ("both models on the same frames", (found.get("same_frames") or {}).get("scores") or ()),
        ("both models on donors that neither has seen", (found.get("new_groups") or {}).get("scores") or ()),
    ):
        if not rows:
            continue
        shown = table(title, "", "split by frame", "split by recording", "difference")
        for row in rows:
            where = f" {row['where']}" if row.get("where") else ""
            scores = (_score(row[name], row["digits"]) for name in ("by_frame", "by_group"))
            shown.add_row(f"{row['title']}{where}", *scores, _score(row["difference"], row["digits"], sign="+"))
        paper.print(shown)
    paper.print(found["sentence"], markup=False)


def _score(score: dict[str, Any], digits: int, sign: str = "") -> str:
    if score["value"] is None:
        return "–"
    interval = ""
    if score.get("low") is not None and score.get("high") is not None:
        interval = f" ({score['low']:{sign}.{digits}f} to {score['high']:{sign}.{digits}f})"
    return f"{score['value']:{sign}.{digits}f}{interval}"
