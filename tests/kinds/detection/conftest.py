"""The fixtures of the training tests hold for the detector's, too."""

from __future__ import annotations

from tests.training.conftest import line as line
from tests.training.conftest import mlflow_url as mlflow_url
from tests.training.conftest import night_lake as night_lake
