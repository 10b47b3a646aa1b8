"""What the torch-free image must still do: read every recipe, and know what a training's key is."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tasks.config import HOME
from tests.production.images import left_out

pytestmark = pytest.mark.integration

READ_ALL = """
import importlib.abc, importlib.util, sys

gone, real = set(sys.argv[1:]), importlib.util.find_spec

class Hidden(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in gone:
            raise ModuleNotFoundError(f"{name} is hidden", name=name)

sys.meta_path.insert(0, Hidden())
importlib.util.find_spec = lambda name, package=None: None if name.partition(".")[0] in gone else real(name, package)

from tasks.config import RecipeChoice
from tasks.kinds import kind_of

read = 0
for name in ("detection", "classification", "segmentation"):
    recipes = kind_of(name).recipes
    for recipe in recipes.recipe_names():
        assert recipes.load_recipe(RecipeChoice(name=recipe)).fingerprint()
        read += 1
print(read)
"""


def test_torch_and_cuda_are_left_out_and_the_sdk_of_others_are_not() -> None:
    gone = left_out()
    assert {"torch", "torchvision", "nvidia", "timm", "transformers"} <= gone
    assert not {"ultralytics", "cv2", "av", "mlflow", "pyarrow", "numpy", "airflow", "celery", "psycopg2"} & gone


def test_every_recipe_is_read_without_torch() -> None:
    command = [sys.executable, "-c", READ_ALL, *left_out()]
    done = subprocess.run(command, cwd=HOME, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert int(done.stdout) > 10
