"""`nightscope export`: a model for use elsewhere."""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from typing import Annotated, Any

import typer

from tasks.cli.output import AsJson, Line, dump, escape, paper, print_json, table
from tasks.errors import ConfigError
from tasks.kind.exports import Precision
from tasks.kinds import kind_of
from tasks.session import open_session


def export(
    line: Line,
    fmt: Annotated[
        str, typer.Option("--format", metavar="FORMAT", help="onnx, torchscript, openvino, ncnn or paddle.")
    ],
    int8: Annotated[bool, typer.Option("--int8", help="Quantise to 8 bits; calibrated on training frames.")] = False,
    fp16: Annotated[bool, typer.Option("--fp16", help="Weights in 16 bits: half the size.")] = False,
    version: Annotated[str | None, typer.Option("--to", metavar="VERSION", help="Which; default: champion.")] = None,
    max_ap_loss: Annotated[
        float | None,
        typer.Option(help="Average precision that it may lose; default 0.001, with --fp16 0.005, with --int8 0.02."),
    ] = None,
    json_: AsJson = False,
) -> None:
    """Export a model of LINE for use elsewhere: checked against the original, timed beside it, attached in MLflow.

    An export that is not the same model, within the tolerance, is refused and not attached: exit code 1.
    """
    from tasks import operations

    if int8 and fp16:
        raise ConfigError("--int8 and --fp16: an export has one precision", expected="one of the two, or neither")
    precision: Precision = "int8" if int8 else "fp16" if fp16 else "fp32"
    with redirect_stdout(sys.stderr), open_session() as session:
        exported = operations.export_model(
            session, line, fmt, precision=precision, version=version, max_ap_loss=max_ap_loss
        )
    report = dump(exported)
    if json_:
        print_json(report)
    else:
        print_report(report)
    if not report["accepted"]:
        raise typer.Exit(1)


def print_report(report: dict[str, Any]) -> None:
    """What became of an export, for a person."""
    what = f"{report['line']} model version {report['model_version']} as {report['label']}"
    if report["accepted"]:
        paper.print(f"[bold]{what}[/]: attached{' before' if report['found'] else ''}; record {report['record_oid']}")
    else:
        paper.print(f"[bold red]refused:[/] {what}; nothing was attached")
        for reason in report["reasons"]:
            paper.print(escape(f"  {reason}"))
    checks = report["checks"]
    main = next(iter(checks["metrics"]))
    rows = table(f"on {checks['images']} test frames", "", "original", "export", "difference", "interval")
    shown = checks["metrics"] | {f"{main} of {name}": found for name, found in checks.get("classes", {}).items()}
    for name, found in shown.items():
        between = "" if found["low"] is None else f"{found['low']:+.4f} to {found['high']:+.4f}"
        values = (
            _number(found[key], form) for key, form in (("original", ".4f"), ("export", ".4f"), ("difference", "+.4f"))
        )
        rows.add_row(name, *values, between)
    paper.print(rows)
    exports = kind_of(report["kind"]).exports
    for sentence in exports.described(checks) if exports else ():
        paper.print(sentence)
    if calibration := report["export"]["calibration"]:
        paper.print(f"calibrated on {calibration['images']} frames of the training split")
    timed = report["benchmark"]
    rows = table(
        f"one image at a time, {timed['device']}",
        "",
        "p50 ms",
        "p95 ms",
        "fps",
        "peak MiB",
        "of it libraries",
        "file MB",
    )
    for name in ("original", "export"):
        own = timed[name]
        rows.add_row(
            name, f"{own['latency_ms_p50']:.1f}", f"{own['latency_ms_p95']:.1f}", _number(own.get("fps"), ".1f"),
            f"{own['peak_rss_mb']:.0f}",
            f"{own['libraries_rss_mb']:.0f}", f"{own['size_bytes'] / 1e6:.2f}",
        )  # fmt: skip
    paper.print(rows)


def _number(value: float | None, form: str) -> str:
    return "–" if value is None else format(value, form)
