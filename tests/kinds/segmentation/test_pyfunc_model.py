"""The registered model loads in a clean process, without Nightscope, and predicts what the predictor predicts."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import tifffile

from tasks.kinds.segmentation import networks
from tasks.kinds.segmentation.inference.predict import predict_picture
from tasks.kinds.segmentation.pictures import read_picture
from tasks.kinds.segmentation.served import SERVED
from tasks.metrics import masks
from tasks.registry.pyfunc import save_pyfunc
from tests.kinds.segmentation.test_predictor import tiny_spec, write_tiny

CHANNELS = {"nucleus": 1, "membrane": 0}
CLEAN = """
    import json, sys
    from pathlib import Path
    import mlflow, numpy as np, pandas as pd
    model = mlflow.pyfunc.load_model(sys.argv[1])
    path = sys.argv[2]
    array = np.load(sys.argv[3])
    table = model.predict(path)
    same = [model.predict(Path(path).read_bytes()), model.predict(array), model.predict([array]),
            model.predict(pd.DataFrame({"picture": [path]})), model.predict(array[None])]
    assert all(each.equals(table) for each in same)
    two = model.predict([array, path])
    sure = model.predict(array, params={"min_score": 0.9999})
    for wrong in (b"no picture", np.zeros((3, 3), bool), ["/nowhere.png"], array[:, :, :1].astype(complex)):
        try:
            model.predict(wrong)
        except Exception as error:
            assert "expected" in str(error) or "nowhere" in str(error), error
        else:
            raise AssertionError(wrong)
    other = mlflow.pyfunc.load_model(sys.argv[4])
    assert len(other.predict(array)) != len(table) or not other.predict(array).equals(table)
    assert model.predict(array).equals(table)
    assert "tasks" not in sys.modules
    assert len({name.split(".")[0] for name in sys.modules if name.startswith("nightscope_")}) == 2
    print(json.dumps({"columns": list(table.columns), "rows": table.values.tolist(),
                      "pictures": two["picture"].tolist(), "sure": len(sure)}))
"""


def test_loads_in_a_clean_process_and_predicts_what_the_predictor_predicts(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 4000, (3, 70, 90), dtype=np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", values, photometric="minisblack", compression="zlib")
    np.save(tmp_path / "a.npy", np.moveaxis(values, 0, -1))
    served = []
    for number in range(2):
        weights = write_tiny(tmp_path / f"w{number}.pt", tiny_spec(channels=CHANNELS), bias=2.0 - number)
        about = {
            "classes": ["cell", "debris"], "imgsz": 64, "predict": {"min_score": 0.0},
            "weights_sha256": hashlib.sha256(weights.read_bytes()).hexdigest(),
        }  # fmt: skip
        with save_pyfunc(about, weights, SERVED, model_id=f"m-{number}", run_id="0" * 32) as folder:
            served.append(shutil.copytree(folder, tmp_path / f"model{number}"))
    # another release's code beside this one's: each keeps its own
    stain = served[1] / "artifacts" / "stain.py"
    stain.write_text(stain.read_text() + "\n# later\n")

    command = [
        sys.executable, "-P", "-c", textwrap.dedent(CLEAN), str(served[0]), str(tmp_path / "a.tif"),
        str(tmp_path / "a.npy"), str(served[1]),
    ]  # fmt: skip
    clean = {
        "PATH": os.environ["PATH"], "HOME": str(tmp_path), "MLFLOW_DISABLE_TELEMETRY": "true", "OMP_NUM_THREADS": "1"
    }  # fmt: skip
    done = subprocess.run(command, cwd=tmp_path, env=clean, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.splitlines()[-1])

    network, spec = networks.read(tmp_path / "w0.pt")
    ours = predict_picture(network, spec, read_picture(tmp_path / "a.tif", CHANNELS))
    assert found["columns"] == list(SERVED.columns)
    assert len(ours) > 3
    assert [row[9] for row in found["rows"]] == list(ours.masks)
    assert np.allclose([row[3] for row in found["rows"]], ours.scores)
    assert [row[1] for row in found["rows"]] == list(range(len(ours)))
    first = masks.decode(ours.masks[0], 70, 90)
    rows, columns = np.nonzero(first)
    assert found["rows"][0][4:9] == [
        columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1, first.sum()
    ]  # fmt: skip
    assert found["pictures"] == [0] * len(ours) + [1] * len(ours)
    assert found["sure"] < len(ours)


def test_every_file_that_a_served_model_needs_is_beside_it() -> None:
    stems = [path.stem for path in SERVED.modules]
    assert len(set(stems)) == len(stems)
    assert all(path.is_file() for path in SERVED.modules)
