"""Classification: one class for each picture, or (`multi_label: true`) several labels that each hold or do not.

An object is what `objects.py` says; a dataset on disk is what `dataset.py` says; a prediction is a float64 array
[classes] of probabilities in the model's order of classes: they sum to 1 where a picture has one class, and are
independent of each other in a multi-label line.
"""

from __future__ import annotations

USE = "says which of {classes} a picture shows"
LIBRARIES = {
    "training": ("timm", "torch", "torchvision", "scikit-learn", "scipy", "numpy", "opencv-python-headless"),
}
WORDS = {"image": "picture", "images": "pictures", "thing": "label", "things": "labels", "shown": 12}
