"""A registered model at work on files that are no part of the lake: loaded once, checked first, asked often.

loading   which version, its weights checked, its predictor loaded
rows      what it says of one image, as rows with units in their names
files     pictures, folders and videos, one frame at a time
"""
