"""Further networks whose features a classical head sees beside the first one's. Used by the worker only."""

from __future__ import annotations

from typing import Any

from tasks.kinds.classification.setup import Setup, normalisation
from tasks.training.installed import INSTALLED, installed_file


def further_weights(setup: Setup) -> tuple[str, ...]:
    """Weights of the plan's `more_encoders`, each once, without those that the first network has."""
    named = dict.fromkeys(each.weights for each in setup.plan.more_encoders)
    return tuple(name for name in named if name != setup.weights_name)


def further_networks(setup: Setup) -> list[Any]:
    """Networks of `further_weights`, their files verified.

    Raises:
        ConfigError: A package that brings weights is not installed.
        IntegrityError: Its file is not the one that we know.
    """
    from tasks.kinds.classification.loading import start_from
    from tasks.kinds.classification.networks import build_bare

    made, classes = [], len(setup.dataset.classes)
    for name in further_weights(setup):
        path, oid = installed_file(name)
        network = build_bare(INSTALLED[name].model, classes, setup.plan.imgsz)
        start_from(network, path, oid, INSTALLED[name].model, classes)
        made.append(network)
    return made


def listed_weights(setup: Setup) -> list[dict[str, str]]:
    """Of each of `further_networks`: `model`, `weights` and the `sha256` of their file."""
    return [
        {"model": INSTALLED[name].model, "weights": name, "sha256": INSTALLED[name].oid}
        for name in further_weights(setup)
    ]


def looks_of(setup: Setup) -> list[dict[str, Any]]:
    """What `networks.FrozenFeatures` calls `looks`, of the plan's `more_encoders`."""
    order, looks = (setup.weights_name, *further_weights(setup)), []
    for each in setup.plan.more_encoders:
        mean, std = normalisation(INSTALLED[each.weights].model, each.weights)
        looks.append({"network": order.index(each.weights), "contrast": each.contrast, "mean": mean, "std": std})
    return looks
