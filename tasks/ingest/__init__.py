"""Recordings come in: landing bucket → recordings and frames.

`landing` puts files into the landing bucket, `recordings` takes in what is new there, `frames` extracts single frames.
Below them: `formats` (what a file claims to be and is), `video` and `stacks` (decoding), `sampling` (which frames),
`images` and `phash` (a frame as a picture), `reading` and `workers` (decoding in processes of its own).
"""
