"""Stands alone: an image in, one row out."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel


class Brightness(PythonModel):
    """Says whether an RGB image, uint8 [height, width, 3], is bright."""

    def load_context(self, context: Any) -> None:
        """Check and read the weights."""
        about = json.loads(Path(context.artifacts["model"]).read_text())
        data = Path(context.artifacts["weights"]).read_bytes()
        if hashlib.sha256(data).hexdigest() != about["weights_sha256"]:
            raise ValueError("other weights")
        self.weights = json.loads(data)

    def predict(self, context: Any, model_input: Any, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """One row: label and score."""
        grey = float((np.asarray(model_input) @ [0.299, 0.587, 0.114]).mean())
        bright = grey >= self.weights["threshold"]
        score = float(1 / (1 + np.exp(-abs(grey - self.weights["threshold"]) / 10)))
        return pd.DataFrame({"label": [self.weights["classes"][int(bright)]], "score": [score]})


set_model(Brightness())
