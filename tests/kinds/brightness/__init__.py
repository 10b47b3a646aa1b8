"""A kind small enough to read in one go: is a whole frame dark or bright? One threshold of its mean grey is learned.

It is what docs/how-to/add-a-kind.md points to, and what `test_a_whole_night.py` copies into a temporary folder and runs
a night with. An object is `{"label": <class>}`, exactly one for each frame.
"""

USE = "says which of {classes} a single frame is"
LIBRARIES = {"training": ("numpy", "opencv-python-headless")}
