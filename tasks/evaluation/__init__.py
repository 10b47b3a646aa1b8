"""Champion and challenger judged on the same frozen test split, in the same run, and the report people read.

What objects are, and how they are scored and drawn, the line's kind knows (`tasks.kind`).
"""
