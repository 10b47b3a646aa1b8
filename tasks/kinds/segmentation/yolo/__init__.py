"""Ultralytics' YOLO-seg as a baseline of this kind: trained by ultralytics, used and judged as our own networks are.

plan.py      what a recipe may say       dataset.py   cells as ultralytics reads them
trainer.py   resumable                   train.py     the training in the worker's process

Its network is `networks/yolo_seg.py`.
"""
