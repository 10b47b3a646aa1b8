"""A lake that knows MLflow, as the training tests have it."""

from __future__ import annotations

from tests.training.conftest import mlflow_url as mlflow_url
from tests.training.conftest import night_lake as night_lake
