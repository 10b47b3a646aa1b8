"""A cache that was cut short is as good as none: the next exploration makes it anew."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tasks.exploration import looks, parts


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_a_cut_cache_is_read_as_none(tmp_path: Path, share: float) -> None:
    path = tmp_path / "cache.npz"
    looks.write_arrays(path, {"oids": np.array(["a"] * 50), "numbers": np.ones((50, 9))})
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    assert looks._kept(path) == ([], [])
    assert parts._kept(path) == {}
