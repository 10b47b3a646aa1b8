"""Segmentation: the outline of every cell in a picture, by a model of two stages: find the cells, then fill each box.

objects.py    what a label is            instances.py  what a prediction is
dataset.py    a dataset on disk          networks/     encoders, the two stages, the star-convex head
training/     losses, stages, resume     inference/    tiles, joining, disjoint masks
formats/      label files                python/       the entry points for scripts
"""

from __future__ import annotations

USE = "outlines every {classes} in a picture"
LIBRARIES = {
    "training": (
        "timm", "torch", "torchvision", "monai", "torchstain", "transformers", "numpy", "scipy", "scikit-image",
        "opencv-python-headless", "pycocotools", "ultralytics", "cellpose",
    ),
    "export": ("torch", "torchvision", "onnx", "onnxruntime"),
}  # fmt: skip
WORDS = {
    "image": "picture", "images": "pictures", "thing": "labelled cell", "things": "labelled cells", "shown": 6,
    "beside": "labels on the left; on the right boxes as they were found, and the masks that were made of them",
}  # fmt: skip
