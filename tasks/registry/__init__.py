"""MLflow: training runs, models, and which of them is in charge. The only room that imports mlflow.

`open_registry(settings)` is the door. Importing this is cheap; MLflow itself (3 s) is imported with the first call.
"""

from __future__ import annotations

from tasks.registry.models import CHALLENGER, CHAMPION, PREVIOUS, ModelRecord, Registry, open_registry

__all__ = ["CHALLENGER", "CHAMPION", "PREVIOUS", "ModelRecord", "Registry", "open_registry"]
