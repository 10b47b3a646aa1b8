"""`nightscope audit`: find what of one split also stands in another, and show what it would buy."""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Annotated, Any

import typer

from tasks.cli.output import AsJson, dump, escape, paper, print_json, table
from tasks.errors import ConfigError
from tasks.session import open_session

_SHOWN = 20


def audit(
    name: Annotated[str, typer.Argument(metavar="LINE|VERSION", help="A line, or a dataset version's hash.")],
    json_: AsJson = False,
    demonstrate: Annotated[
        bool, typer.Option("--demonstrate", help="Train twice, split by frame and by recording: what leakage buys.")
    ] = False,
    out: Annotated[Path | None, typer.Option(help="Write the report with the pairs' pictures to this file.")] = None,
) -> None:
    """Look for leaks between the splits of LINE's newest dataset, or of a dataset VERSION.

    Exit code 1 when something leaks. Every training asks the same before it starts. Where nothing is frozen yet, LINE's
    labels are validated first, as in a night: what is wrong with them is set aside (nightscope quarantine LINE).
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
            _write(out, operations.read_audit_report(session, audited.report_oid))
    if json_:
        print_json(report)
    else:
        _show(report)
        if out is not None:
            paper.print(escape(f"report: {out.resolve()}"))
    if not report["passed"]:
        raise typer.Exit(1)


def _write(path: Path, page: bytes) -> None:
    try:
        path.write_bytes(page)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written: {error.strerror or error}", fix="say another --out") from error


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
        count = len(report["findings"])
        unseen = sum(finding["kind"] == "unseen" for finding in report["findings"])
        leaks = f"{count - unseen} leak{'' if count - unseen == 1 else 's'}"
        leaks += f", {unseen} not ruled out" if unseen else ""
        paper.print(f"[bold red]{leaks}[/]; a training on this is refused")
        rows = table("", "kind", "one", "other", "why")
        for finding in report["findings"][:_SHOWN]:
            sides = (escape(_side(finding[name])) for name in ("one", "other"))
            rows.add_row(finding["kind"], *sides, escape(finding["why"]))
        paper.print(rows)
        if count > _SHOWN:
            paper.print(f"and {count - _SHOWN} more (--json lists all)")
    for name, why in report["not_compared"]:
        paper.print(escape(f"not compared as a clip: {name}: {why}"))
    paper.print(f"[dim]report with pictures:[/] {report['report']} (--out FILE saves it)")
    if "demonstration" in report:
        _show_demonstration(report["demonstration"])


def _side(side: dict[str, Any]) -> str:
    return f"{side['recording_name']} frame {side['frame_index']} ({side['split']})"


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
