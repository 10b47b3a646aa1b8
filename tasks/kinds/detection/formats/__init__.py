"""Readers of label files with boxes, one module per format."""
