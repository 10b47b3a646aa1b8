"""A training that takes a given number of CPU seconds, whatever its recipe and its kind."""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import psutil

from tasks.config import RecipeChoice
from tasks.kind import Job
from tasks.kinds import kind_of
from tasks.lake.blobs import hash_file
from tasks.training import supervise
from tasks.training.ultralytics_stages import spelt_out

PILOT = 4
"""Epochs of a pilot's stage: the first ones also pay for what is done once, the last two are its pace."""
STAGES = {"stage1": "total_epochs", "stage2": "total_epochs"}


@dataclass(frozen=True)
class Trained:
    """A finished training: its weights, what it took, and the epochs of its stages."""

    weights: Path
    cpu_s: float
    wall_s: float
    epochs: dict[str, int]


def train_for(
    cpu_seconds: float, kind: str, recipe: str, changes: Mapping[str, Any], seed: int, data: Path, folder: Path, *,
    has_val: bool, threads: int, weights: Path | None = None, teacher: Path | None = None, denoiser: Path | None = None,
) -> Trained:  # fmt: skip
    """Measure the pace of a recipe in a pilot, set its epochs to the budget, train.

    The `teacher` is asked by recipes that name one, whatever they call it, and pictures go through the `denoiser` of
    those that name one.
    """
    base = kind_of(kind).recipes.load_recipe(RecipeChoice(name=recipe, seed=seed, **changes))
    through = denoiser if base.denoiser() else None
    if through:
        data = _denoised(data, through, folder / "denoised")
    whole = partial(
        _run, kind, data=data, has_val=has_val, threads=threads, weights=weights, teacher=teacher, denoiser=through
    )
    wanted = epochs_of(base.arguments)
    if not any(wanted.values()):  # nothing is trained: the weights are judged as they are
        return whole(RecipeChoice(name=recipe, seed=seed, **changes), {}, folder=folder / "whole")[0]
    pilot = {name: PILOT for name, count in wanted.items() if count}
    _, took, rest = whole(_choice(base, changes, pilot), pilot, folder=folder / "pilot")
    members = int(base.arguments.get("members", 1))
    factor = (cpu_seconds - rest) / (members * sum(wanted[name] * pace for name, pace in took.items()))
    epochs = {name: max(1, round(factor * wanted[name])) for name in pilot}
    print(
        f"{recipe}: an epoch takes " + ", ".join(f"{pace:.1f} CPU s ({name})" for name, pace in took.items())
        + f", the rest {rest:.1f}; epochs {epochs}", flush=True,
    )  # fmt: skip
    return whole(_choice(base, changes, epochs), epochs, folder=folder / "whole")[0]


def _denoised(data: Path, denoiser: Path, folder: Path) -> Path:
    """The pictures of a layout as they come out of a denoiser; the path of their `data.yaml`."""
    from tasks.kinds.detection.denoised_layout import write_denoised

    write_denoised(data, denoiser, hash_file(denoiser), folder / "cache", folder / "data", folder / "data")
    return folder / "data" / data.name


def epochs_of(arguments: Mapping[str, Any]) -> dict[str, int]:
    """Stage -> epochs of a recipe; models of one stage have one that is called 'epochs'."""
    if arguments.get("model") == "star-convex":
        return {"stage1": int(arguments["stage1"]["total_epochs"])}
    if "stage1" in arguments:
        return {stage: int(arguments[stage][key]) for stage, key in STAGES.items()}
    if arguments.get("stages"):
        return {f"stage {n}": int(each["epochs"]) for n, each in enumerate(spelt_out(arguments), 1)}
    return {"epochs": int({**arguments, **arguments.get("ultralytics", {})}["epochs"])}


def _choice(base: Any, changes: Mapping[str, Any], epochs: Mapping[str, int]) -> RecipeChoice:
    """The recipe with so many epochs, and no least number of steps."""
    more: dict[str, Any] = {}
    for stage, count in epochs.items():
        if stage in STAGES:
            more[stage] = {**changes.get(stage, {}), STAGES[stage]: count}
        elif stage == "epochs":
            more[stage] = count
    if base.arguments.get("stages"):
        counts = list(epochs.values())
        more["stages"] = [{**each, "epochs": n} for each, n in zip(base.arguments["stages"], counts, strict=True)]
    if getattr(base, "min_steps", 0) or "min_steps" in base.arguments:
        more["min_steps"] = 0
    if changes.get("average_last", 0) > min(epochs.values()):  # a pilot is shorter
        more["average_last"] = min(epochs.values())
    return RecipeChoice(name=base.name, seed=base.seed, **{**changes, **more})


def _run(
    kind: str, choice: RecipeChoice, epochs: Mapping[str, int], *, data: Path, folder: Path, has_val: bool,
    threads: int, weights: Path | None, teacher: Path | None, denoiser: Path | None,
) -> tuple[Trained, dict[str, float], float]:  # fmt: skip
    """Train in the worker; also what an epoch of each stage took in CPU seconds (the last ones), and all the rest."""
    folder.mkdir(parents=True)
    recipe = kind_of(kind).recipes.load_recipe(choice)
    installed = recipe.installed_weights()
    job = Job(
        kind=kind, run_key="b" * 64, folder=folder, data=data, has_val=has_val, seed=recipe.seed,
        options=kind_of(kind).training.options(recipe, data), weights=weights or (installed and installed[0]),
        state_dir=folder, locks_dir=folder / "locks", parent_pid=os.getpid(), threads=threads,
        teacher=teacher if recipe.teacher() else None, denoiser=denoiser,
    )  # fmt: skip
    began, before, ended = time.monotonic(), _cpu_s(), []
    os.environ["OMP_NUM_THREADS"] = str(threads)
    finished: dict[str, Any] = {}
    for event in supervise.events(job, folder / "training.log"):
        if event["event"] == "epoch":
            ended.append(_cpu_s() - before)
        finished = event
    total = _cpu_s() - before
    took, start = {}, 0
    for stage, count in epochs.items():
        own = ended[start : start + count]
        last = own[-3:]
        took[stage] = (last[-1] - last[0]) / (len(last) - 1) if len(last) > 1 else total
        start += count
    members = int(recipe.arguments.get("members", 1))  # each has as many epochs; the first one's pace is taken
    rest = total - members * sum(took[stage] * count for stage, count in epochs.items())
    done = Trained(Path(finished["weights"]), total, time.monotonic() - began, dict(epochs))
    return done, took, max(0.0, rest)


def _cpu_s() -> float:
    """CPU seconds, user and system, of all processes that this one started, those that run included."""
    gone = resource.getrusage(resource.RUSAGE_CHILDREN)
    total = gone.ru_utime + gone.ru_stime
    for child in psutil.Process().children(recursive=False):
        try:
            times = child.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += times.user + times.system + times.children_user + times.children_system
    return total
