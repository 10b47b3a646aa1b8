"""What `nightscope demo` refuses before it starts anything."""

from __future__ import annotations

from pathlib import Path

import pytest

from tasks.cli.demo import PICTURE_DEMOS, DemoLine, demo
from tasks.config import HOME, load_line
from tasks.errors import ConfigError


@pytest.mark.parametrize("line", PICTURE_DEMOS)
def test_simulated_pictures_are_drawn_never_brought(line: DemoLine, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="simulated pictures only"):
        demo(line=line, recordings=tmp_path, labels=tmp_path)


@pytest.mark.parametrize("line", DemoLine)
def test_each_line_of_the_demo_ships(line: DemoLine) -> None:
    assert load_line(line.value, HOME / "dags" / "lines").line == line
