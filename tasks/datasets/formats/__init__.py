"""Layouts that trainers and other tools read: YOLO."""
