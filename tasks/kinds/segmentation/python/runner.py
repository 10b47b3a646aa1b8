"""An experiment: its folds, one after the other, and the output tree that scripts know.

    <output_dir>/<output_name>/
      experiment_config.json            what was asked, with the recipe that it came to
      logs/experiment.log               and fold_X.log: what the training printed
      models/fold_X/                    weights.pt: weights of both stages; what a killed training goes on from
      results/individual_results.json   one entry a fold
      results/aggregated_results.json   mean of each metric over the folds; of several deviation and interval, too
      results/fold_X/visualizations/    the pictures with the most errors, curves, pictures of the stages
      metrics/stage1_metrics.json       of each fold, each epoch of a stage; and stage2_metrics.json
      data/                             pictures (linked) and cells as the training reads them, fold_X.json

Run again, finished folds are left as they are and a killed one goes on where it was.
"""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tasks.errors import ConfigError
from tasks.kind import Recipe
from tasks.kinds.segmentation.dataset import LabelledPicture
from tasks.kinds.segmentation.python.config import ExperimentConfig
from tasks.kinds.segmentation.python.files import write_json
from tasks.kinds.segmentation.python.fold import TrainedFold, train_fold
from tasks.kinds.segmentation.python.folders import find_samples, write_dataset, write_pictures
from tasks.kinds.segmentation.python.splits import Fold, check_cells, folds_of
from tasks.metrics.crossvalidation import fold_scores
from tasks.schemas import Split, digest

CONFIDENCE = 0.95
SPLITS: tuple[Split, ...] = ("train", "val", "test")
Result = dict[str, Any]


class ExperimentRunner:
    """Runs an experiment.

    Args:
        config: What to run.
        locks: Where devices are locked; None: as the installation's nights do, so that both take turns.

    Raises:
        ConfigError: Naming every value that is wrong.
    """

    def __init__(self, config: ExperimentConfig, locks: Path | None = None) -> None:
        self.config, self._locks = config, locks
        self.recipe: Recipe = config.checked_recipe()
        self.output_dir = config.folder
        self._names: dict[str, str] = {}

    def run(self) -> list[Result]:
        """Train and measure every fold.

        Returns:
            For each fold `fold`, `pictures` (of each split), `metrics` (None of 'full_dataset'), `best_f1` (`f1` and
            `threshold`), `preeval` (before the first epoch, where that is asked for), `stage1` and `stage2` (the last
            epoch of each), `weights`, `seconds`.

        Raises:
            ConfigError: The output folder holds another experiment.
            DataError: Naming every picture that cannot be learned from.
            InsufficientData: There are too few groups.
            StepFailed: A training failed.
        """
        samples = find_samples(self.config)
        self._claim(digest([(sample.name, sample.group, sample.oid) for sample in samples]))
        data = self.output_dir / "data"
        pictures = write_pictures(samples, data, self.config)
        folds = folds_of(self.config, pictures, data)
        check_cells(folds, pictures, data)
        self._names = {picture.file: sample.name for picture, sample in zip(pictures, samples, strict=True)}
        with self._logging() as log:
            log.info("%s: %d pictures, %d folds, recipe %s", self.config.output_name, len(pictures), len(folds),
                     self.recipe.name)  # fmt: skip
            results = [self._fold(number, fold, pictures, log) for number, fold in enumerate(folds, 1)]
            self._write("results/individual_results.json", results)
            if any(result["metrics"] for result in results):
                self._write("results/aggregated_results.json", self._together(results, folds, pictures))
        return results

    def _fold(self, number: int, fold: Fold, pictures: Sequence[LabelledPicture], log: logging.Logger) -> Result:
        name, data = f"fold_{number}", self.output_dir / "data" / f"fold_{number}.json"
        write_dataset(pictures, fold, data, self.config)
        counts = {split: fold.count(split) for split in SPLITS}
        log.info("%s: %d to learn from, %d to choose by, %d to test", name, *counts.values())
        trained = train_fold(
            self.recipe, data, self.output_dir / "models" / name, has_val="val" in fold, log=log, locks=self._locks
        )
        self._keep_files(name, trained)
        self._keep_epochs(name, trained)
        asked: Split | None = "test" if "test" in fold else "val" if "val" in fold else None
        metrics = self._measured(name, trained, data, asked)
        if metrics:
            log.info("%s: AP50_pooled %s  PQ %s  F1_50 %s", name, *(metrics[each] for each in
                     ("AP50_pooled", "PQ", "F1_50")))  # fmt: skip
        return {
            "fold": number,
            "pictures": counts,
            "measured_on": asked,
            "metrics": metrics,
            "best_f1": {"f1": metrics["F1_50"], "threshold": metrics["score_threshold"]} if metrics else None,
            "preeval": next((epoch for epoch in trained.epochs if epoch["epoch"] == 0), None),
            **{stage: next(reversed(_of_stage(trained, stage)), None) for stage in ("stage1", "stage2")},
            "weights": str(trained.weights),
            "seconds": trained.seconds,
            "resumed_after_epochs": list(trained.resumed),
        }

    def _measured(self, name: str, trained: TrainedFold, data: Path, asked: Split | None) -> dict[str, Any] | None:
        from tasks.kinds.segmentation.python.measuring import measure

        if asked is None:
            return None
        done = self.output_dir / "results" / name / "metrics.json"
        key = digest(data.read_text(), trained.weights.stat().st_size, trained.weights.stat().st_mtime_ns)
        if done.is_file() and (known := json.loads(done.read_text()))["key"] == key:
            return dict(known["metrics"])
        metrics = measure(trained.weights, data, asked, done.parent / "visualizations", self._names)
        self._write(f"results/{name}/metrics.json", {"key": key, "metrics": metrics})
        return metrics

    def _keep_files(self, name: str, trained: TrainedFold) -> None:
        shown = self.output_dir / "results" / name / "visualizations"
        shown.mkdir(parents=True, exist_ok=True)
        for file, path in trained.files.items():
            if path.is_file():
                shutil.copyfile(path, shown / file.replace("/", "-"))
        printed = self.output_dir / "models" / name / "training.log"
        if printed.is_file():
            shutil.copyfile(printed, self.output_dir / "logs" / f"{name}.log")

    def _keep_epochs(self, name: str, trained: TrainedFold) -> None:
        for stage in ("stage1", "stage2"):
            path = f"metrics/{stage}_metrics.json"
            known = self.output_dir / path
            content = json.loads(known.read_text()) if known.is_file() else {}
            self._write(path, content | {name: _of_stage(trained, stage)})

    def _together(self, results: Sequence[Result], folds: Sequence[Fold], pictures: Sequence[LabelledPicture]) -> Any:
        """Mean, deviation and interval of each overall metric: Nadeau and Bengio's, for folds are not independent."""
        learned = {picture.group for picture, split in zip(pictures, folds[0], strict=True) if split != "test"}
        tested = {picture.group for picture, split in zip(pictures, folds[0], strict=True) if split == "test"}
        names = dict.fromkeys(
            name for result in results for name, value in result["metrics"].items() if isinstance(value, float)
        )
        return {
            "folds": len(results),
            "confidence": CONFIDENCE,
            "metrics": {
                name: fold_scores(
                    [result["metrics"].get(name) for result in results], len(tested) / len(learned), CONFIDENCE
                ).model_dump(mode="json", exclude={"confidence"})
                for name in names
            },
        }

    def _claim(self, data: str) -> None:
        """Make the output folder ours; what it holds of another experiment is not written over."""
        for name in ("logs", "models", "results", "metrics", "data"):
            (self.output_dir / name).mkdir(parents=True, exist_ok=True)
        asked = self.config.to_dict() | {"recipe_fingerprint": self.recipe.fingerprint(), "data": data}
        path = self.output_dir / "experiment_config.json"
        if path.is_file():
            known = json.loads(path.read_text())
            decides = (
                "strategy", "k_folds", "val_fraction", "group_by", "class_name", "channels", "seed",
                "recipe_fingerprint", "data",
            )  # fmt: skip
            if other := [name for name in decides if known.get(name) != json.loads(json.dumps(asked[name]))]:
                raise ConfigError(
                    f"{self.output_dir}: holds another experiment", expected="the same, to go on with it, or none",
                    found=f"it differs in {', '.join(other)}", fix="choose another output_name, or delete that folder",
                )  # fmt: skip
        recipe = self.recipe.model_dump(mode="json")
        self._write("experiment_config.json", asked | {"recipe_as_it_runs": recipe})

    def _write(self, name: str, content: Any) -> None:
        write_json(self.output_dir / name, content)

    @contextmanager
    def _logging(self) -> Iterator[logging.Logger]:
        log = logging.getLogger(f"nightscope.experiment.{self.config.output_name}")
        log.setLevel(logging.INFO)
        handler = logging.FileHandler(self.output_dir / "logs" / "experiment.log")
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        log.addHandler(handler)
        try:
            yield log
        except BaseException as error:
            log.error("ended by %s: %s", type(error).__name__, error)
            raise
        finally:
            log.removeHandler(handler)
            handler.close()


def _of_stage(trained: TrainedFold, stage: str) -> list[dict[str, Any]]:
    """The epochs of a stage, the parts of its loss under their own names."""
    number, prefix = float(stage[-1]), f"train/{stage}/"
    return [
        {name.removeprefix(prefix): value for name, value in epoch.items() if name != "stage"}
        for epoch in trained.epochs
        if epoch.get("stage") == number
    ]
