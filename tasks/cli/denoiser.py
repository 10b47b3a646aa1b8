"""`nightscope denoiser`: what takes the speckle out of frames before a detector sees them."""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from typing import Annotated, Any

import typer

from tasks.cli.output import AsJson, dump, escape, paper, parse_changes, print_json, table
from tasks.session import open_session

app = typer.Typer(help="Speckle denoisers: train one, and see how good each is.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(metavar="NAME", help="Of the denoiser, e.g. speckle; its versions are counted.")]
Version = Annotated[str, typer.Argument(metavar="NAME/VERSION", help="Which, e.g. speckle/1.")]
Values = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Of the training: steps, seed, width, levels, batch, crop_px, lr."),
]
Pictures = Annotated[int, typer.Option("--pictures", metavar="N", min=1, help="Synthetic pictures to learn from.")]


@app.command("train")
def train(name: Name, pictures: Pictures = 40, set_: Values = None, json_: AsJson = False) -> None:
    """Train a denoiser on synthetic ultrasound, measure it beside the classical filters, and file it as a version.

    A recipe names it (`--set denoiser=NAME/VERSION`). The same training again is found, and not done twice.
    """
    from tasks import operations

    plan = parse_changes(set_)
    with redirect_stdout(sys.stderr), open_session() as session:
        found = dump(operations.train_denoiser(session, name, plan=plan, pictures=pictures))
    if json_:
        print_json(found)
        return
    _show(found)
    if found["found"]:
        paper.print("  it was trained like this before, and not again")


@app.command("show")
def show(version: Version, json_: AsJson = False) -> None:
    """Show how a version was trained, and how good it is beside the classical filters."""
    from tasks import operations

    with open_session() as session:
        found = dump(operations.describe_denoiser(session, version))
    if json_:
        print_json(found)
        return
    _show(found)


@app.command("list")
def list_(json_: AsJson = False) -> None:
    """List every version of every denoiser."""
    from tasks import operations

    with open_session() as session:
        versions = [dump(each) for each in operations.list_denoiser_versions(session)]
    if json_:
        print_json(versions)
        return
    rows = table("denoisers", "version", "PSNR, dB", "best filter's", "steps", "seed", "at", "sha256")
    for each in versions:
        network, best = _network_and_best(each)
        rows.add_row(
            escape(f"{each['name']}/{each['version']}"), f"{network['psnr_db']:.2f}", f"{best['psnr_db']:.2f}",
            str(each["plan"]["steps"]), str(each["plan"]["seed"]), each["at"][:16], each["weights_oid"][:12],
        )  # fmt: skip
    paper.print(rows)


def _show(found: dict[str, Any]) -> None:
    learned = found["pictures"]["learned_from"]
    paper.print(f"[bold]{escape(found['name'])}/{found['version']}[/]: {found['weights_oid']}")
    paper.print(
        f"  {found['plan']['steps']} steps on {learned['count']} synthetic pictures of seed {learned['seed']}, "
        f"seed {found['plan']['seed']}, in {found['seconds']:.0f} s; by {escape(found['by'])}, {found['at'][:16]}"
    )
    count = found["pictures"]["measured_on"]["count"]
    rows = table(f"on {count} other pictures", "filter", "strength", "PSNR, dB", "SSIM", "edges kept", "CPU, ms")
    for row in found["quality"]:
        rows.add_row(
            escape(row["filter"]), escape(row["strength"]), f"{row['psnr_db']:.2f} ± {row['psnr_spread_db']:.2f}",
            f"{row['ssim']:.3f}", f"{row['edges']:.3f}", f"{row['cpu_ms']:.0f}",
        )  # fmt: skip
    paper.print(rows)
    network, best = _network_and_best(found)
    if network["psnr_db"] <= best["psnr_db"]:
        paper.print(f"  [bold yellow]mind:[/] {escape(best['filter'])} has a higher PSNR than this network")


def _network_and_best(found: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The network's row, and that of the classical filter of highest PSNR."""
    *classical, network = found["quality"]
    return network, max(classical, key=lambda row: row["psnr_db"])
