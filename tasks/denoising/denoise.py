"""A trained denoiser at work."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from tasks.denoising.network import SpeckleUNet, read


class Denoiser:
    """Takes the speckle out of pictures, one by one: the same picture gives the same, whatever stands beside it.

    Args:
        network: From `network.read`, or fresh from its training.
    """

    def __init__(self, network: SpeckleUNet) -> None:
        self._network = network.eval()

    @classmethod
    def load(cls, path: Path) -> Denoiser:
        """From a file of weights.

        Raises:
            DataError: It is none.
        """
        return cls(read(path)[0])

    def denoise(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """A picture without speckle.

        Args:
            image: uint8, grey [h, w], or [h, w, 3] with three equal channels; others lose their colour.

        Returns:
            As `image`.
        """
        grey = image if image.ndim == 2 else np.asarray(np.rint(image.mean(axis=2)), dtype=np.uint8)
        with torch.inference_mode():
            found = self._network(torch.from_numpy(np.ascontiguousarray(grey))[None, None].float() / 255)
        clean = np.asarray(np.rint(np.clip(found[0, 0].numpy(), 0, 1) * 255), dtype=np.uint8)
        return clean if image.ndim == 2 else np.repeat(clean[:, :, None], 3, axis=2)
