"""Readers of labels of whole pictures, one module a format."""
