"""An installation whose experiments find their lake by the settings file, as in a night."""

from __future__ import annotations

from tests.installation import installed, small_line_environment, with_registry

__all__ = ["installed", "small_line_environment", "with_registry"]
