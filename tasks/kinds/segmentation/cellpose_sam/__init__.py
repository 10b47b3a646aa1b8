"""Cellpose 4 (Cellpose-SAM) as a baseline of this kind, where its package is installed and the user has its weights.

plan.py    what a recipe may say     train.py   weights taken over as they are, or fine-tuned by cellpose's own training

Its network is `networks/cellpose_sam.py`. Nothing is downloaded.
"""
