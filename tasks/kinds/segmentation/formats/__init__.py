"""Readers of label files with masks and outlines, one module per format."""
