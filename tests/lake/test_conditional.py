"""Documents that are replaced only where they are still what their writer saw: moto knows conditions, rclone none."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterator

import pytest
from pydantic import SecretStr

from tasks.config import LocksSettings, Settings
from tasks.errors import StorageUnavailable
from tasks.lake import Lake, open_lake
from tasks.lake.conditional import NOTHING, has_conditional_writes, look, put_as_seen
from tasks.lake.object_store import JSON, Overtaken
from tests.s3_servers import S3Server, moto

KEY = "clears/a/1.json"


@pytest.fixture(scope="session")
def moto_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with moto(tmp_path_factory.mktemp("moto")) as server:
        yield server


@pytest.fixture(params=["rclone", "moto"])
def many(request: pytest.FixtureRequest, settings: Settings) -> Lake:
    """A lake of an installation with many machines, on each server; its locks are not asked."""
    changes: dict[str, object] = {"locks": LocksSettings(uri=SecretStr("postgresql://nobody@127.0.0.1:9/none"))}
    if request.param == "moto":
        s3 = request.getfixturevalue("moto_server").settings
        changes["s3"] = s3.model_copy(update={"lake_bucket": f"lake-{uuid.uuid4().hex[:12]}"})
    return open_lake(settings.model_copy(update=changes))


def test_what_a_server_can_is_tried_out_once_and_said(many: Lake, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        found = [has_conditional_writes(many.store) for _ in range(3)]
    assert len(set(found)) == 1 and len(caplog.messages) == 1
    assert ("are in use" in caplog.text) is found[0]
    assert list(many.store.list("probes/")) == []


def test_who_was_overtaken_writes_nothing(many: Lake) -> None:
    seen = look(many, KEY)
    assert seen == NOTHING
    put_as_seen(many, KEY, b"1", JSON, seen)
    with pytest.raises(StorageUnavailable, match="changed by another process"):
        put_as_seen(many, KEY, b"another first", JSON, seen)
    first = look(many, KEY)
    put_as_seen(many, KEY, b"2", JSON, first)
    with pytest.raises(StorageUnavailable, match="run this again"):
        put_as_seen(many, KEY, b"another second", JSON, first)
    assert many.store.get_bytes(KEY) == b"2"
    put_as_seen(many, KEY, b"2", JSON, first)  # our own first try, whose answer was lost
    second = look(many, KEY)
    many.store.remove(KEY)
    with pytest.raises(StorageUnavailable):
        put_as_seen(many, KEY, b"3", JSON, second)
    assert many.store.head(KEY) is None


def test_a_server_with_conditions_refuses_what_comes_late(moto_server: S3Server, settings: Settings) -> None:
    """Also where the writer looked, and was stopped before it wrote: there is no gap."""
    s3 = moto_server.settings.model_copy(update={"lake_bucket": f"lake-{uuid.uuid4().hex[:12]}"})
    store = open_lake(settings.model_copy(update={"s3": s3})).store
    assert has_conditional_writes(store)
    store.put_if(KEY, b"1", JSON, None)
    info = store.head(KEY)
    assert info is not None
    store.put_if(KEY, b"2", JSON, info.etag)
    for late in (None, info.etag):
        with pytest.raises(Overtaken):
            store.put_if(KEY, b"3", JSON, late)
    assert store.get_bytes(KEY) == b"2"


def test_one_machine_asks_nothing_of_s3(lake: Lake) -> None:
    assert look(lake, KEY) is None
    put_as_seen(lake, KEY, b"1", JSON, NOTHING)
    put_as_seen(lake, KEY, b"2", JSON, None)
    assert lake.store.get_bytes(KEY) == b"2" and list(lake.store.list("probes/")) == []
