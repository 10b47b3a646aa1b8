"""A trained denoiser at work."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tasks.denoising.speckle_unet import SpeckleUNet, denoise, read
from tasks.errors import DataError


class Denoiser:
    """Takes the speckle out of pictures, one by one.

    Args:
        network: From `speckle_unet.read`, or fresh from its training.
    """

    def __init__(self, network: SpeckleUNet) -> None:
        self._network = network.eval()

    @classmethod
    def load(cls, path: Path) -> Denoiser:
        """From a file of weights; as `of`."""
        return cls.of(path.read_bytes(), path.name)

    @classmethod
    def of(cls, data: bytes, called: str) -> Denoiser:
        """From the bytes of a file of weights.

        Args:
            data: The bytes.
            called: The file, in messages.

        Raises:
            DataError: It is none, is damaged, or was written by a newer release.
        """
        try:
            return cls(read(data)[0])
        except MemoryError:
            raise
        except Exception as error:  # of bytes that anybody may have made: there is no list of what they can raise
            raise DataError(
                f"weights {called} cannot be loaded", expected="a speckle denoiser of format 1",
                found=" ".join(str(error).split())[:300] or type(error).__name__,
                fix="`nightscope denoiser train` makes one",
            ) from error  # fmt: skip

    def denoise(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """A picture without speckle; arguments and answer as `speckle_unet.denoise`."""
        clean: NDArray[np.uint8] = denoise(self._network, image)
        return clean
