"""The registered model loads in a clean process, without Nightscope, and predicts what the predictor predicts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from tasks.config import Line, Settings, parse_line
from tasks.kind import ModelRef
from tasks.kinds import kind_of
from tasks.kinds.classification import predictor
from tasks.kinds.classification.recipe import load_recipe
from tasks.kinds.classification.served import SERVED
from tasks.lake import Lake
from tasks.training.records import Training
from tasks.training.train import train_challenger
from tests.kinds.classification.pictures import CLASSES, TINY, pictures_to_test, write_dataset

CLEAN = """
    import json, sys
    from pathlib import Path
    import mlflow, numpy as np, pandas as pd
    mlflow.set_tracking_uri(sys.argv[1])
    model = mlflow.pyfunc.load_model(sys.argv[2])
    path = sys.argv[3]
    array = np.load(path + ".npy")
    table = model.predict(array)
    same = [model.predict(path), model.predict(Path(path).read_bytes()), model.predict([array]),
            model.predict(pd.DataFrame({"picture": [path]})), model.predict(array[None])]
    assert all(np.allclose(each["probability"], table["probability"]) for each in same)
    two = model.predict([path, array])
    turned = model.predict(array, params={"tta": True})
    for wrong in (b"no picture", np.zeros((3, 3), np.float32), ["/nowhere.png"]):
        try:
            model.predict(wrong)
        except (ValueError, OSError) as error:
            assert "expected" in str(error) or "nowhere" in str(error), error
        else:
            raise AssertionError(wrong)
    assert "tasks" not in sys.modules
    print(json.dumps({"columns": list(table.columns), "rows": table.values.tolist(), "two": two.values.tolist(),
                      "turned": turned.values.tolist()}))
"""


def _line(recipe: dict[str, Any]) -> Line:
    return parse_line(
        {"line": f"served-{recipe['name']}", "kind": "classification", "classes": list(CLASSES), "recipe": recipe,
         "gates": [{"metric": "accuracy", "at_least": 0.1}]}, "test",
    )  # fmt: skip


def _trained(lake: Lake, line: Line, data: Path) -> Training:
    return train_challenger(lake, line, kind_of("classification"), "f" * 64, data, True, progress=lambda _: None)


@pytest.mark.parametrize(
    "recipe",
    [
        {"name": "from-scratch", **TINY},
        {"name": "centred-features", "imgsz": 64, "views": 3},
        {"name": "centred-encoders", "imgsz": 64, "views": 2},
    ],
    ids=["network", "averaged-features", "several-encoders"],
)
def test_loads_in_a_clean_process_and_predicts_what_the_predictor_predicts(
    night_lake: Lake, tmp_path: Path, registry_stack: Settings, recipe: dict[str, Any]
) -> None:
    data, line = write_dataset(tmp_path / "data"), _line(recipe)
    training = _trained(night_lake, line, data)
    bgr = pictures_to_test(data)[0][0]
    picture = tmp_path / "picture.png"
    cv2.imwrite(str(picture), bgr)
    np.save(f"{picture}.npy", np.ascontiguousarray(bgr[:, :, ::-1]))

    uri = f"models:/{line.line}/{training.model_version}"
    url = night_lake.settings.mlflow.url
    command = [sys.executable, "-P", "-c", textwrap.dedent(CLEAN), url, uri, str(picture)]
    reader = {
        "MLFLOW_TRACKING_USERNAME": "reader",
        "MLFLOW_TRACKING_PASSWORD": registry_stack.mlflow.reader_password.get_secret_value(),
    }
    clean = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "MLFLOW_DISABLE_TELEMETRY": "true"} | reader
    done = subprocess.run(command, cwd=tmp_path, env=clean, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    served = json.loads(done.stdout.splitlines()[-1])

    assert served["columns"] == list(SERVED.columns)
    assert [row[0] for row in served["two"]] == [0, 0, 0, 1, 1, 1]
    chances = [row[2] for row in served["rows"]]
    assert chances == sorted(chances, reverse=True) and sum(chances) == pytest.approx(1)
    for rows, tta in ((served["rows"], False), (served["turned"], True)):
        model = ModelRef(
            model_version="1", weights_oid=training.weights_oid, classes=CLASSES, options={"predict": {"tta": tta}}
        )
        (ours,) = predictor.load(night_lake, model, "cpu").predict([bgr])
        for _, label, chance in rows:
            assert chance == pytest.approx(ours[CLASSES.index(label)], abs=1e-6)


def test_how_a_model_predicts_is_another_version_with_the_same_weights(
    night_lake: Lake, tmp_path: Path, registry_stack: Settings
) -> None:
    data, line = write_dataset(tmp_path / "data"), _line({"name": "small-cnn", **TINY, "tta": False})
    turned = line.model_copy(update={"recipe": line.recipe.model_copy(update={"tta": True})})
    training, again = (_trained(night_lake, each, data) for each in (line, turned))
    assert again.weights_oid == training.weights_oid and again.model_version != training.model_version
    assert load_recipe(turned.recipe).predicting == {"tta": True}
