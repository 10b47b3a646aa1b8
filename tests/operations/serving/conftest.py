"""A champion that has really learned something, for all that is done with one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tasks.config import Settings
from tests.installation import with_registry
from tests.operations.exporting import Champion, make_champion, one_cpu

__all__ = ["with_registry"]


@pytest.fixture(scope="session")
def champion(with_registry: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Champion]:
    with one_cpu():
        yield make_champion(with_registry, tmp_path_factory.mktemp("champion"))
