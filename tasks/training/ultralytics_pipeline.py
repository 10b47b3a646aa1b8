"""What changes ultralytics' training pictures: its own transforms, ours in a place of theirs. Imported by workers only.

Where albumentations is installed, ultralytics blurs, greys and equalises one picture in a hundred with it, whatever a
recipe says, and draws its random numbers for it. So it is kept out: a recipe trains the same whether it is installed
or not, and what a recipe asks for (`microscope`) stands in that place.
"""

from __future__ import annotations

from typing import Any

from ultralytics.data import augment

from tasks.training.microscope import Microscope


class NoAlbumentations(augment.BaseTransform):  # type: ignore[misc]
    """Stands where ultralytics has its transform by albumentations, and does nothing."""

    def __init__(self, *_: Any, **__: Any) -> None:
        super().__init__()

    def __call__(self, labels: dict[str, Any]) -> dict[str, Any]:
        """The same."""
        return labels


def keep_albumentations_out() -> None:
    """Have ultralytics build its transforms without albumentations, for as long as this process lives."""
    augment.Albumentations = NoAlbumentations


def put_microscope_in(dataset: Any, plan: Microscope) -> None:
    """Change a dataset's pictures as under a microscope, also after ultralytics has built its transforms anew.

    Args:
        dataset: Of ultralytics; of boxes alone.
        plan: How often each thing happens.
    """
    from tasks.training.microscope_transforms import MicroscopeOfLabels

    build, own = dataset.build_transforms, MicroscopeOfLabels(plan)

    def with_ours(transforms: Any) -> Any:
        transforms.transforms = [own if isinstance(each, NoAlbumentations) else each for each in transforms.transforms]
        return transforms

    dataset.build_transforms = lambda hyp: with_ours(build(hyp))
    with_ours(dataset.transforms)
