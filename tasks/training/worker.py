"""The training subprocess: `python -m tasks.training.worker <job.json>`. See `job.py` for what goes in and comes out.

It dies with the step that started it, and trains only while nobody else trains on the same device.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from tasks.stack.devices import CPU
from tasks.training import devices
from tasks.training.job import Job
from tasks.training.recipes import schedule

PR_SET_PDEATHSIG = 1


def die_with(parent_pid: int) -> None:
    """Have the kernel kill this process when its parent dies; leave at once if it has died already."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent_pid:  # it died before the call above: nobody would ever tell us
        sys.exit(f"step {parent_pid} is gone: not training for nobody")


class Reporter:
    """Writes events for the step on the real standard output; all that others print goes to the log (stderr)."""

    def __init__(self, *, silent: bool = False) -> None:
        self._silent = silent
        self.stream = os.fdopen(os.dup(1), "w", buffering=1)
        os.dup2(2, 1)

    def __call__(self, event: str, **content: Any) -> None:
        if not self._silent:
            self.stream.write(json.dumps({"event": event, **content}, default=str) + "\n")


def main(job_file: Path) -> None:
    """Run one job: alone, or as one of several processes that train together (DDP), one on each GPU."""
    job = Job.model_validate_json(job_file.read_text())
    rank = os.environ.get("LOCAL_RANK")
    die_with(job.parent_pid if rank is None else os.getppid())
    report = Reporter(silent=rank not in (None, "0"))
    if rank is not None:
        train_together(job, int(rank), report)
        return
    with devices.hold(job.locks_dir, job.devices, job.on, lambda what: report("waiting", **{"for": what})) as held:
        devices.show_only(held)
        if len(held) > 1:
            start_ranks(job_file, len(held), report)
            return
        from tasks.training import offline

        offline.prepare(job.config_dir, job.threads)
        import torch

        train(job, "cuda:0" if torch.cuda.is_available() else CPU, report)


def start_ranks(job_file: Path, count: int, report: Reporter) -> None:
    """Train on several GPUs: one process each, started by torch's launcher; the first of them reports for all.

    (Ultralytics would start them itself, from a file that knows neither our events nor our checkpoints.)
    """
    launcher = [sys.executable, "-P", "-m", "torch.distributed.run", "--standalone", "--local-addr=127.0.0.1"]
    command = [*launcher, f"--nproc-per-node={count}", "-m", "tasks.training.worker", str(job_file)]
    kernel = ctypes.CDLL(None)
    ranks = subprocess.Popen(
        command,
        stdout=report.stream,
        env=os.environ | {"PYTHONSAFEPATH": "1"},
        preexec_fn=lambda: kernel.prctl(PR_SET_PDEATHSIG, signal.SIGKILL),
    )
    if code := ranks.wait():
        sys.exit(code if code > 0 else 1)


def train_together(job: Job, rank: int, report: Reporter) -> None:
    """One process of several: the GPU with its number among those that are visible."""
    from tasks.training import offline

    offline.prepare(job.config_dir, job.threads)
    count = int(os.environ["WORLD_SIZE"])
    train(job, f"cuda:{','.join(map(str, range(count)))}", report, rank=rank)


def train(job: Job, device: str, report: Reporter, *, rank: int = 0) -> None:
    """Train (or go on), then review what came out and hand it over; only the first of several processes does that."""
    from tasks.training.dataset_view import local_data
    from tasks.training.review import finished_weights, review
    from tasks.training.trainer import unpack

    began = time.monotonic()
    run = job.folder / "run"
    state = unpack(job.resume_from, run) if job.resume_from else None
    data = local_data(job)
    if state is None or not state["finished"]:  # else: killed between the last epoch and the review
        run_epochs(job, device, data, run, state, report)
    if rank > 0:
        return
    device = device.partition(",")[0]
    weights = finished_weights(run, job.folder / "weights.pt", prefer_best=job.has_val)
    findings, files = review(job, weights, data, run, device)
    report("finished", weights=weights, review=findings, files=files, seconds=round(time.monotonic() - began, 3))


def run_epochs(job: Job, device: str, data: Path, run: Path, state: dict[str, Any] | None, report: Reporter) -> None:
    """The training proper."""
    from tasks.training.determinism import NOT_ASKED, listening
    from tasks.training.listener import Listener
    from tasks.training.trainer import ResumableDetectionTraining

    arguments = ultralytics_arguments(job, device, data, run, resuming=state is not None)
    trainer = ResumableDetectionTraining(arguments, has_val=job.has_val, state=state)
    if os.environ.get("LOCAL_RANK", "0") == "0":
        listener = Listener(job, trainer, report)
        trainer.add_callback("on_train_start", lambda _: listener.start())
        trainer.add_callback("on_train_batch_end", lambda _: listener.batch())
        trainer.add_callback("on_fit_epoch_end", lambda _: listener.epoch())
    if not arguments.get("deterministic", True):
        report("nondeterministic", operation=NOT_ASKED)
    with listening(lambda operation: report("nondeterministic", operation=operation)):
        trainer.train()


def ultralytics_arguments(job: Job, device: str, data: Path, run: Path, *, resuming: bool) -> dict[str, Any]:
    """The job in ultralytics' words."""
    from tasks.training.dataset_view import of_one_shape, training_images

    arguments = dict(job.arguments)
    if arguments.get("amp", "auto") == "auto":
        arguments["amp"] = "bf16" if device.startswith("cuda") else False  # True would download a model to compare with
    if device == "cpu":
        arguments["amp"] = False
    images = training_images(data)
    plan = schedule(arguments, job.min_steps, len(images))
    arguments |= {"epochs": plan.epochs, "patience": plan.patience}
    if arguments.get("rect") and not of_one_shape(images):
        arguments["rect"] = False  # batches would have to be sorted by shape, and never shuffled
    own: dict[str, Any] = {
        "task": "detect",
        "mode": "train",
        "data": str(data),
        "model": str(job.weights or job.model),
        "device": device.removeprefix("cuda:"),
        "seed": job.seed,
        "save": True,
        "save_dir": str(run),
        "val": job.has_val and arguments.get("val", True),
        "iou": job.predict.iou,
        "max_det": job.predict.max_det,
    }
    if job.weights and job.model:
        own |= {"model": str(job.model), "pretrained": str(job.weights)}
    if resuming:
        own |= {"resume": str(run / "weights" / "last.pt"), "model": str(run / "weights" / "last.pt")}
    return arguments | own


if __name__ == "__main__":
    main(Path(sys.argv[1]))
