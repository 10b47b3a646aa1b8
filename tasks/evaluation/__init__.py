"""Champion and challenger judged on the same frozen test split, in the same run, and the report people read.

What is about boxes (or, later, masks and classes) is in one adapter for each kind, listed in `kinds`.
"""
