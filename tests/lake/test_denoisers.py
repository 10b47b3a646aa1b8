"""Versions of denoisers: counted, filed once, found again, signed, and kept by the tidying."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tasks.errors import ConfigError, NotFound, SignatureError
from tasks.lake import Lake
from tasks.lake.denoisers import DenoiserVersion, denoiser_place, file_denoiser, list_denoisers, read_denoiser
from tasks.lake.gc import collect
from tasks.schemas import now
from tests.lake.test_gc import LATER


def a_version(lake: Lake, key: str, name: str = "speckle", data: bytes = b"weights") -> DenoiserVersion:
    made: dict[str, Any] = {
        "name": name, "version": 99, "weights_oid": lake.blobs.put_bytes(data), "size_bytes": len(data), "key": key,
        "plan": {}, "pictures": {}, "quality": ({"filter": "U-Net"},), "seconds": 1.0, "by": "os:0/t",
        "at": now().isoformat(), "git_commit": None, "git_dirty": None, "lock_sha256": None, "libraries": {},
        "hardware": "cpu",
    }  # fmt: skip
    return file_denoiser(lake, DenoiserVersion(**made))


def test_versions_are_counted_by_name_and_the_same_training_is_the_same_version(lake: Lake) -> None:
    called = [a_version(lake, key, name).called for key, name in (("a", "speckle"), ("b", "speckle"), ("a", "other"))]
    assert called == ["speckle/1", "speckle/2", "other/1"]
    assert a_version(lake, "a").called == "speckle/1" and len(list_denoisers(lake, "speckle")) == 2
    assert [each.called for each in list_denoisers(lake)] == ["other/1", "speckle/1", "speckle/2"]
    assert read_denoiser(lake, "speckle/2").key == "b"


def test_ten_comes_after_nine(lake: Lake) -> None:
    assert [a_version(lake, str(n)).version for n in range(11)] == list(range(1, 12))


def test_one_that_is_not_there_names_those_that_are(lake: Lake) -> None:
    a_version(lake, "a")
    with pytest.raises(NotFound, match="speckle/7: there is no such version") as caught:
        read_denoiser(lake, "speckle/7")
    assert caught.value.expected == "one of: speckle/1"
    for wrong in ("speckle", "../speckle/1", "speckle/0", "Speckle/1", "speckle/1/2"):
        with pytest.raises(ConfigError, match="a name and a version"):
            read_denoiser(lake, wrong)


def test_a_record_that_somebody_else_wrote_is_not_believed(lake: Lake) -> None:
    a_version(lake, "a")
    place = denoiser_place("speckle/1")
    content = json.loads(lake.store.get_bytes(place))
    content["value"]["weights_oid"] = "0" * 64
    lake.store.put_bytes(place, json.dumps(content).encode(), "application/json")
    with pytest.raises(SignatureError):
        read_denoiser(lake, "speckle/1")


def test_tidying_keeps_a_versions_weights(lake: Lake) -> None:
    kept, loose = a_version(lake, "a").weights_oid, lake.blobs.put_bytes(b"of no version")
    collect(lake, at=now() + LATER, dry_run=False)
    assert lake.blobs.exists(kept) and not lake.blobs.exists(loose)
