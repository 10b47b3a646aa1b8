"""Grid and random search over an experiment's values; killed, it goes on with what is not finished.

For a line's recipe there is `nightscope search`, whose trials are signed, audited and seen in MLflow. This is for
folders of pictures that are in no lake. Both draw their trials' values and run them by `training/trial_values.py`; what
this one goes on from are its trials' folders, which are called after their values.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence, Sized
from copy import deepcopy
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from tasks.errors import ConfigError, NightscopeError
from tasks.escaping import short_repr
from tasks.kinds.segmentation.python.config import ExperimentConfig
from tasks.kinds.segmentation.python.files import write_json
from tasks.kinds.segmentation.python.runner import ExperimentRunner, Result
from tasks.schemas import digest
from tasks.training.trial_values import (
    MOST_TRIALS,
    MOST_VALUES,
    Choice,
    Sampler,
    Space,
    attempt_each,
    cells,
    draw_each,
)

log = logging.getLogger(__name__)

_PLACES = {
    "stage1_learning_rates": "stage1_config.learning_rate", "stage1_total_epochs": "stage1_config.total_epochs",
    "stage1_types": "stage1_config.stage1_type", "ce_loss_weights": "stage1_config.ce_loss_weight",
    "bbox_loss_weights": "stage1_config.bbox_loss_weight", "giou_loss_weights": "stage1_config.giou_loss_weight",
    "stage2_learning_rates": "stage2_config.learning_rate", "stage2_total_epochs": "stage2_config.total_epochs",
    "focal_loss_weights": "stage2_config.focal_loss_weight", "focal_gammas": "stage2_config.focal_gamma",
    "dice_loss_weights": "stage2_config.dice_loss_weight",
    "boundary_loss_weights": "stage2_config.boundary_loss_weight",
    "gammas": "gamma", "batch_sizes": "batch_size", "augmentation_flags": "augmentation",
    "complex_augmentation_flags": "complex_augmentation",
}  # fmt: skip
"""Key of a space -> what it is of an `ExperimentConfig`."""
Values = dict[str, Any]


@dataclass
class HyperparameterSpace:
    """Which values are tried. What is None stays as the base experiment has it."""

    stage1_learning_rates: list[float] | None = None
    stage1_total_epochs: list[int] | None = None
    stage1_types: list[str] | None = None
    ce_loss_weights: list[float] | None = None
    bbox_loss_weights: list[float] | None = None
    giou_loss_weights: list[float] | None = None
    stage2_learning_rates: list[float] | None = None
    stage2_total_epochs: list[int] | None = None
    focal_loss_weights: list[float] | None = None
    focal_gammas: list[float] | None = None
    dice_loss_weights: list[float] | None = None
    boundary_loss_weights: list[float] | None = None
    gammas: list[float] | None = None
    batch_sizes: list[int] | None = None
    augmentation_flags: list[bool] | None = None
    """With `complex_augmentation_flags`: the combination of no augmentation and a complex one is left out."""
    complex_augmentation_flags: list[bool] | None = None

    def searched(self) -> dict[str, list[Any]]:
        """The keys that have values.

        Raises:
            ConfigError: None has, or some are no list of values.
        """
        given = {each.name: getattr(self, each.name) for each in fields(self)}
        wrong = [name for name, values in given.items() if values is not None and not _is_list(values)]
        if wrong:
            said = "; ".join(f"{name}: expected a list of values, found {short_repr(given[name])}" for name in wrong)
            raise ConfigError(f"search space: {said}")
        found = {name: list(values) for name, values in given.items() if values is not None and len(values)}
        if not found:
            raise ConfigError("search space: is empty", expected=f"values for some of: {', '.join(_PLACES)}")
        return found

    def space(self) -> Space:
        """The same for the drawing; of values that are equal the first.

        Raises:
            ConfigError: A key has too many values, or some that are none.
        """
        found: Space = {}
        faults = []
        for key, values in self.searched().items():
            try:
                found[key] = Choice(values=tuple(dict.fromkeys(values)))
            except (ValidationError, TypeError):
                faults.append(f"{key}: expected 1 to {MOST_VALUES} plain values, found {short_repr(values)}")
        if faults:
            raise ConfigError(f"search space: {'; '.join(faults)}")
        return found


class HyperparameterOptimizer:
    """Searches for better values of an experiment.

    Args:
        base_config: What all trials share.
        param_space: What they differ in.
        output_dir: Where the trials' experiments and the results go.
        max_parallel: Trials at a time. Each takes a device of its own where there are several; on a CPU they share it.
        metric_name, metric_key: The value of a fold's result that is to be as high as possible, e.g. 'metrics', 'PQ'.
        seed: Of what is drawn.
    """

    def __init__(
        self,
        base_config: ExperimentConfig,
        param_space: HyperparameterSpace,
        output_dir: str | Path,
        max_parallel: int = 1,
        metric_name: str = "best_f1",
        metric_key: str = "f1",
        seed: int = 0,
    ) -> None:
        if type(max_parallel) is not int or max_parallel < 1:
            raise ConfigError(f"max_parallel {short_repr(max_parallel)}", expected="a whole number from 1")
        if base_config.strategy == "full_dataset":
            raise ConfigError("search: full_dataset measures nothing", expected="k_fold or train_val_split")
        self.base_config, self.param_space, self.output_dir = base_config, param_space, Path(output_dir)
        self.max_parallel, self.metric_name, self.metric_key, self.seed = max_parallel, metric_name, metric_key, seed

    def run_grid_search(self) -> dict[str, Any]:
        """Try every combination; as `run_random_search`."""
        return self._run(self.trials())

    def run_random_search(self, n_trials: int = 20) -> dict[str, Any]:
        """Try combinations drawn at random.

        Returns:
            `best_trial`, `best_metric_value`, `all_trials` (each with `trial_id`, `hyperparameters`, `metric_value`,
            `success`, `results` or `error`), `n_trials`, `metric_optimized`; also in `optimization_results.json`, and
            the best values in `best_configuration.json`.

        Raises:
            ConfigError: No trial succeeded, or a value of the space cannot be.
        """
        return self._run(self.trials(random=n_trials))

    def trials(self, random: int | None = None) -> list[Values]:
        """The values of each trial, in order: of the grid, or so many drawn at random; none twice.

        Raises:
            ConfigError: The space is empty, or there are too many.
        """
        space = self.param_space.space()
        count = cells(space) if random is None else random
        if type(count) is not int or not 1 <= count <= MOST_TRIALS:
            raise ConfigError(
                f"search of {short_repr(count)} trials", expected=f"1 to {MOST_TRIALS}", fix="run_random_search"
            )
        sampler: Sampler = "grid" if random is None else "random"
        drawn = draw_each(space, sampler, self.seed, count)
        different = {digest(values): values for values in drawn}  # twice would be the same training twice
        return [values for values in different.values() if not _contradicts_itself(values)]

    def _run(self, trials: list[Values]) -> dict[str, Any]:
        configs = [self._config_of(values) for values in trials]
        for config in configs:
            config.checked_recipe()  # before the first hour of training, not after it
        self.output_dir.mkdir(parents=True, exist_ok=True)
        numbers = range(len(trials))
        done = attempt_each(numbers, lambda n: self._trial(n, trials[n], configs[n]), self.max_parallel)
        valued = [trial for trial in done if trial["metric_value"] is not None]
        if not valued:
            raise ConfigError(
                f"search: none of {len(done)} trials came to a {self.metric_name}.{self.metric_key}",
                found="; ".join(dict.fromkeys(trial["error"] or "it was not measured" for trial in done)),
            )
        best = max(valued, key=lambda trial: (trial["metric_value"], -trial["trial_id"]))
        results = {
            "best_trial": best, "best_metric_value": best["metric_value"], "all_trials": done, "n_trials": len(done),
            "metric_optimized": f"{self.metric_name}.{self.metric_key}",
        }  # fmt: skip
        write_json(self.output_dir / "optimization_results.json", results)
        write_json(self.output_dir / "best_configuration.json", best["hyperparameters"])
        return results

    def _trial(self, number: int, values: Values, config: ExperimentConfig) -> dict[str, Any]:
        """Run one; a trial that fails ends no other."""
        locks = config.folder / "locks" if self.max_parallel > 1 and _on_cpu() else None
        about = {"trial_id": number, "hyperparameters": values, "output": str(config.folder)}
        try:
            results = ExperimentRunner(config, locks).run()
        except NightscopeError as error:
            log.warning("trial %d failed: %s", number, error)
            return {**about, "metric_value": None, "success": False, "results": None, "error": str(error)}
        value = self._value_of(results)
        log.info("trial %d: %s %s", number, self.metric_key, value)
        return {**about, "metric_value": value, "success": True, "results": results, "error": None}

    def _config_of(self, values: Values) -> ExperimentConfig:
        config = deepcopy(self.base_config)
        for key, value in values.items():
            part, _, name = _PLACES[key].rpartition(".")
            setattr(getattr(config, part) if part else config, name, value)
        config.output_dir = self.output_dir
        config.output_name = f"{self.base_config.output_name}_trial_{digest(values)[:10]}"
        return config

    def _value_of(self, results: Sequence[Result]) -> float | None:
        """Mean over the folds; None: there is nothing to be averaged."""
        found = [(result.get(self.metric_name) or {}).get(self.metric_key) for result in results]
        numbers = [float(value) for value in found if isinstance(value, int | float)]
        return sum(numbers) / len(numbers) if numbers else None


def _is_list(values: Any) -> bool:
    """Whether it holds values one by one: a list, a tuple, an array of numpy's."""
    return isinstance(values, Iterable) and isinstance(values, Sized) and not isinstance(values, str | Mapping)


def _contradicts_itself(values: Values) -> bool:
    return values.get("augmentation_flags") is False and values.get("complex_augmentation_flags") is True


def _on_cpu() -> bool:
    from tasks.config import load_settings
    from tasks.stack.devices import CPU, present

    return present(load_settings()) == (CPU,)
