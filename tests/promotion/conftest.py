"""An installation whose promotions find their lake by the settings file, as in a night."""

from __future__ import annotations

from tests.installation import scene, with_registry

__all__ = ["scene", "with_registry"]
