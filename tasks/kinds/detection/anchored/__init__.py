"""A detector with anchors: torchvision's RetinaNet on a small backbone, beside the kind's YOLOs.

Recipes name it by `model: retinanet`. What a YOLO and it have in common is the dataset's layout, the options of
predicting, the boxes they give, and everything above the kind.
"""
