"""`nightscope step NAME`: each step of the DAGs, alone and without Airflow.

What a step returns is printed as JSON, so that one step's output can be the next one's argument.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from typing import Annotated

import typer
from pydantic import BaseModel

from tasks.cli.output import Changes, Line, dump, escape, parse_changes, print_json, screen
from tasks.errors import NothingToDo
from tasks.session import Session, open_session

app = typer.Typer(help="Run one step of a DAG, without Airflow. Prints JSON.", no_args_is_help=True)

Force = Annotated[bool, typer.Option("--force", help="Go on even if nothing is new.")]
OnlyCount = Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")]
DatasetVersion = Annotated[str, typer.Argument(metavar="DATASET_VERSION", help="What freeze-dataset printed.")]


@app.command("ingest-recordings")
def ingest_recordings() -> None:
    """Take everything new in the landing bucket into the lake, once."""
    from tasks import steps

    _print(lambda session: steps.ingest_recordings(session))


@app.command("sync-annotations")
def sync_annotations(line: Line) -> None:
    """Put LINE's new frames before the annotators and fetch what they have changed."""
    from tasks import steps

    _print(lambda session: steps.sync_annotations(session, line))


@app.command("check-news")
def check_news(line: Line, set_: Changes = None, force: Force = False) -> None:
    """Say whether LINE has anything new to learn from; prints the fingerprint of its inputs."""
    from tasks import steps

    _print(lambda session: steps.check_news(session, line, parse_changes(set_), force=force))


@app.command("validate-labels")
def validate_labels(line: Line, set_: Changes = None) -> None:
    """Check LINE's labels; bad ones go to quarantine, the rest goes on."""
    from tasks import steps

    _print(lambda session: steps.validate_labels(session, line, parse_changes(set_)))


@app.command("freeze-dataset")
def freeze_dataset(
    line: Line,
    validation_oid: Annotated[str, typer.Argument(help="`validation_oid` of validate-labels.")],
    set_: Changes = None,
    force: Force = False,
) -> None:
    """Assign splits and freeze LINE's validated labels to a dataset version."""
    from tasks import steps

    _print(lambda session: steps.freeze_dataset(session, line, parse_changes(set_), validation_oid, force=force))


@app.command("explore-dataset")
def explore_dataset(line: Line, dataset_version: DatasetVersion) -> None:
    """Write the exploration report of a dataset version and keep it beside it."""
    from tasks import steps

    _print(lambda session: steps.explore_dataset(session, line, dataset_version))


@app.command("train-challenger")
def train_challenger(line: Line, dataset_version: DatasetVersion, set_: Changes = None) -> None:
    """Train on a dataset version and register the challenger; resumes what was killed, reuses what is finished."""
    from tasks import steps

    _print(lambda session: steps.train_challenger(session, line, parse_changes(set_), dataset_version))


@app.command("evaluate-models")
def evaluate_models(
    line: Line,
    dataset_version: DatasetVersion,
    model_version: Annotated[str, typer.Argument(help="The challenger's model version.")],
    set_: Changes = None,
) -> None:
    """Evaluate challenger and champion on the same frozen test split."""
    from tasks import steps

    changes = parse_changes(set_)
    _print(lambda session: steps.evaluate_models(session, line, changes, dataset_version, model_version))


@app.command("decide-verdict")
def decide_verdict(
    line: Line,
    evaluation_oid: Annotated[str, typer.Argument(help="What evaluate-models printed.")],
    model_version: Annotated[str, typer.Argument(help="The challenger's model version.")],
    set_: Changes = None,
) -> None:
    """Put the evaluation through LINE's gates and record the verdict."""
    from tasks import steps

    def decide(session: Session) -> BaseModel:
        training = steps.training_of(session, line, model_version)
        return steps.decide_verdict(session, line, parse_changes(set_), evaluation_oid, training)

    _print(decide)


@app.command("promote-model")
def promote_model(
    line: Line,
    verdict_id: Annotated[str, typer.Argument(help="`verdict_id` of decide-verdict.")],
    set_: Changes = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would happen; change nothing.")] = False,
    approve: Annotated[
        bool | None, typer.Option("--approve/--hold", help="Your word, where LINE asks for a person's approval.")
    ] = None,
    note: Annotated[str, typer.Option("--note", help="Why you approve, hold or override; kept in the evidence.")] = "",
    override: Annotated[
        bool, typer.Option("--override", help="Even if the gates were loosened with --set; needs --note; recorded.")
    ] = False,
) -> None:
    """Carry out a verdict, once: put the model in charge if it says so, and record the evidence. Safe to repeat."""
    from tasks import steps
    from tasks.operations.who import os_user
    from tasks.schemas import now

    changes, by = parse_changes(set_), os_user()
    answer = None if approve is None else {"approved": approve, "by": by, "note": note, "at": now().isoformat()}
    _print(
        lambda session: steps.promote_model(
            session, line, changes, verdict_id, dry_run=dry_run, answer=answer, override=override, note=note, by=by
        )
    )


@app.command("plan-folds")
def plan_folds(
    line: Line,
    folds: Annotated[int, typer.Option("--folds", metavar="K", min=2, help="How many.")] = 5,
    set_: Changes = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the folds.")] = 0,
) -> None:
    """Split LINE's newest dataset version in K folds by donor; prints their versions."""
    from tasks import experiments

    _print(lambda session: experiments.plan_folds(session, line, parse_changes(set_), folds=folds, seed=seed))


@app.command("run-fold")
def run_fold(
    line: Line,
    fold: Annotated[str, typer.Argument(metavar="FOLD", help="One of what plan-folds printed.")],
    set_: Changes = None,
) -> None:
    """Train and test one fold; resumes what was killed, reuses what is finished."""
    from tasks import experiments

    _print(lambda session: experiments.run_fold(session, line, parse_changes(set_), fold))


@app.command("summarise-folds")
def summarise_folds(
    line: Line,
    folds: Annotated[list[str], typer.Argument(metavar="FOLD...", help="All that plan-folds printed, in order.")],
    set_: Changes = None,
) -> None:
    """Sum up the folds that are finished, and log them in MLflow."""
    from tasks import experiments

    _print(lambda session: experiments.summarise_folds(session, line, parse_changes(set_), folds))


@app.command("maintain-tables")
def maintain_tables(dry_run: OnlyCount = False) -> None:
    """Merge the tables' small files, and forget old states that no dataset version names."""
    from tasks import steps

    _print(lambda session: steps.maintain_tables(session, dry_run=dry_run))


@app.command("collect-garbage")
def collect_garbage(dry_run: OnlyCount = False) -> None:
    """Remove blobs that nothing names (what killed steps left behind)."""
    from tasks import steps

    _print(lambda session: steps.collect_garbage(session, dry_run=dry_run))


@app.command("free-local-space")
def free_local_space(dry_run: OnlyCount = False) -> None:
    """Remove caches and scratch of this machine that were not used for long, or are too much."""
    from tasks import steps

    _print(lambda session: steps.free_local_space(session, dry_run=dry_run))


@app.command("verify-evidence")
def verify_evidence(
    quick: Annotated[bool, typer.Option("--quick", help="Read no recordings and no frames.")] = False,
) -> None:
    """Verify the evidence of every line; an error that names what no longer holds, if anything does not."""
    from tasks import operations

    _print(lambda session: operations.verify_all(session, quick=quick))


def _print(step: Callable[[Session], BaseModel]) -> None:
    """Run a step and print what it returns; its progress goes to stderr. Nothing to do is a success."""
    try:
        with redirect_stdout(sys.stderr), open_session() as session:
            result = step(session)
        print_json(dump(result))
    except NothingToDo as nothing:
        screen.print(escape(f"skipped: {nothing}"))
        print_json({"skipped": str(nothing)})
