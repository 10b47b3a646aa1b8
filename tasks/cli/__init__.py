"""The command line: one module per family of commands.

Exit codes: 0 success, 1 an error or something refused, 2 wrong usage, 3 a night that stopped for lack of data.
Reports go to stdout (`--json`: one JSON document and nothing else), progress and errors to stderr.
"""

from __future__ import annotations

import typer

from tasks.cli import (
    audit,
    demo,
    denoiser,
    diagnose,
    doctor,
    erase,
    evaluate,
    evidence,
    experiments,
    explore,
    export,
    intake,
    keys,
    models,
    night,
    predict,
    promotion,
    query,
    search,
    serve,
    stack,
    step,
    synthesize,
    tensorboard,
    watch,
)
from tasks.cli.progress import show_progress

app = typer.Typer(
    name="nightscope",
    help="Each day's recordings and labels become a better model every night, when the evidence says so.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def _begin() -> None:
    show_progress()


labels = typer.Typer(help="Labels that exist already, and those that a model completes.", no_args_is_help=True)

app.command()(stack.up)
app.command()(stack.down)
app.command()(stack.status)
app.command()(doctor.doctor)
app.command()(intake.add)
app.command()(watch.watch)
labels.command("import")(intake.import_labels)
labels.command("fill")(intake.fill_labels)
app.add_typer(labels, name="labels")
app.command()(night.run)
app.command()(models.champion)
app.command()(models.verdicts)
app.command()(models.report)
app.command()(models.quarantine)
app.command()(promotion.promote)
app.command()(promotion.rollback)
app.command()(evidence.evidence)
app.command()(evidence.verify)
app.add_typer(keys.app, name="keys")
app.command()(erase.erase)
app.command()(erase.pseudonyms)
app.add_typer(audit.app, name="audit")
app.command()(experiments.cross_validate)
app.command()(search.search)
app.command()(experiments.reproduce)
app.command()(export.export)
app.command()(explore.explore)
app.command()(diagnose.diagnose)
app.command()(query.query)
app.command()(tensorboard.tensorboard)
app.add_typer(denoiser.app, name="denoiser")
app.command()(evaluate.train)
app.command()(evaluate.evaluate)
app.command()(predict.predict)
app.command()(serve.serve)
app.command()(demo.demo)
app.command()(synthesize.synthesize)
app.add_typer(step.app, name="step")

__all__ = ["app"]
