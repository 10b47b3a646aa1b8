"""Several trainings that make one model: each by the next seed, one after the other, in one worker. For workers only.

A member is trained as it would be alone: the model of seed 4 is the same to the byte whether it is the second member of
seed 3 or a training of its own. To the step it is one training: epochs and steps are counted on from member to member,
and a checkpoint holds the finished members beside what the current one goes on from.

    fusion: boxes      one file holds all (`ensembles.py`); what they find in an image is fused
    fusion: weights    all began with the same weights, those of the first member, and their mean is one detector
"""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from tasks.kinds.detection.averaging import average_of
from tasks.kinds.detection.dataset_view import local_data, training_images
from tasks.kinds.detection.ensembles import write
from tasks.kinds.detection.job import DetectorJob
from tasks.kinds.detection.review import review, review_together
from tasks.kinds.detection.train import handed_over, run_to_the_end
from tasks.training.ultralytics_knobs import WEIGHTS
from tasks.whole_files import written_whole

Reports = Callable[..., None]
Reviewed = tuple[Path, dict[str, Any], dict[str, str]]
"""The weights, what was found about them, and the files to keep, name -> path."""


def train_members(job: DetectorJob, device: str, report: Reports) -> Reviewed:
    """Train all members, or go on, and make one model of them."""
    count, as_weights = int(job.arguments["members"]), job.arguments.get("fusion") == WEIGHTS
    begun = torch.load(job.resume_from, map_location="cpu", weights_only=True) if job.resume_from else None
    counts, finished = tuple(begun["before"]) if begun else (0, 0), []
    for number, content in enumerate(begun["finished"] if begun else []):
        finished.append(_place(job, number) / "weights.pt")
        _put(finished[-1], content)
    findings: dict[str, Any] = {}
    files: dict[str, str] = {}
    first = len(finished)
    for number in range(first, count):
        own = _of_member(job, number, begun if number == first else None, same_start=as_weights)
        told = MemberReports(report, number, count, counts, list(finished))
        if begun and number == first:
            told.counts = tuple(begun["counts"])
        data, run = run_to_the_end(own, device, told)
        counts = told.counts
        finished.append(handed_over(own, data, run))
    data = local_data(job)
    if as_weights:
        target = job.folder / "weights.pt"
        weights = average_of(finished, training_images(data), job.imgsz, target)
        return weights, *review(job, weights, data, _place(job, count - 1) / "run", device)
    weights = write(finished, job.folder / "weights.ensemble")
    for number, path in enumerate(finished):
        own = _of_member(job, number, None)
        found, kept = review(own, path, data, own.folder / "run", device)
        findings |= {f"member_{number + 1}/{name}": value for name, value in found.items()}
        files |= {f"member_{number + 1}/{name}": place for name, place in kept.items()}
    return weights, review_together(job, weights, data, device) | findings, files


def _place(job: DetectorJob, number: int) -> Path:
    return job.folder / f"member_{number + 1}"


def _of_member(job: DetectorJob, number: int, begun: dict[str, Any] | None, *, same_start: bool = False) -> DetectorJob:
    """The job of one member: what a training of that seed alone is asked for."""
    folder = _place(job, number)
    folder.mkdir(exist_ok=True)
    if begun:
        _put(folder / "resume.ckpt", begun["current"])
    return job.model_copy(update={
        "folder": folder,
        "seed": job.seed + number,
        "start_seed": job.seed if same_start else None,
        "arguments": {key: value for key, value in job.arguments.items() if key not in {"members", "fusion"}},
        "resume_from": folder / "resume.ckpt" if begun else None,
    })  # fmt: skip


class MemberReports:
    """Hands a member's events on as those of the whole training.

    Args:
        report: The whole training's.
        number: Which member, from 0.
        count: How many there are.
        counts: Epochs and steps of the members before it.
        finished: The weights of the members before it.

    Attributes:
        counts: Epochs and steps with those of this member, so far.
    """

    def __init__(self, report: Reports, number: int, count: int, counts: tuple[int, int], finished: list[Path]) -> None:
        self._report, self._number, self._count, self._finished = report, number, count, finished
        self._epochs, self._steps = self.counts = counts

    def __call__(self, event: str, **content: Any) -> None:
        """An event of this member."""
        if event == "checkpoint":
            self._add_members(Path(content["path"]))
        if event == "picture" and self._number:
            content["name"] = f"member_{self._number + 1}/{content['name']}"
        if event == "started":
            content |= {"member": self._number + 1, "members": self._count}
        if event == "progress":
            content["eta_s"] += self._left_after_this(content)
            content["steps"] = self._steps + content["steps"] * (self._count - self._number)
        if event == "epoch":
            content["metrics"] = {**content["metrics"], "member": self._number + 1}
            self.counts = (self._epochs + content["epoch"], self._steps + content["step"])
        if "epochs" in content:
            content["epochs"] = self._epochs + content["epochs"] * (self._count - self._number)
        for name, before in (("epoch", self._epochs), ("first_epoch", self._epochs), ("step", self._steps)):
            if name in content:
                content[name] += before
        self._report(event, **content)

    def _left_after_this(self, content: dict[str, Any]) -> int:
        """Seconds that the members after this one take, if they take as long."""
        left = max(1, content["steps"] - content["step"])
        return int(content["eta_s"] / left * content["steps"] * (self._count - self._number - 1))

    def _add_members(self, path: Path) -> None:
        """Make the member's checkpoint the whole training's."""
        content = {
            "finished": [_bytes_of(each) for each in self._finished],
            "current": _bytes_of(path),
            "before": [self._epochs, self._steps],
            "counts": list(self.counts),
        }
        buffer = io.BytesIO()
        torch.save(content, buffer)
        _put(path, torch.frombuffer(bytearray(buffer.getvalue()), dtype=torch.uint8))


def _bytes_of(path: Path) -> torch.Tensor:
    """A file's bytes, in the one form that torch stores without inflating or executing anything."""
    return torch.frombuffer(bytearray(path.read_bytes()), dtype=torch.uint8)


def _put(path: Path, content: torch.Tensor) -> None:
    with written_whole(path) as part:
        part.write_bytes(content.numpy().tobytes())
