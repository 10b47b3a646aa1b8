"""What a dataset version looks like before it is learned from: one page, made once for each version.

frames       images of frames; which are damaged
looks        simple statistics of each frame's picture; computed once for each frame, by its hash
balance      splits, classes, groups and sizes
appearance   brightness, contrast, sharpness; the extreme frames
duplicates   frames that are the same, or nearly
suspects     labels that a small model, which has not seen them, finds unlikely
plots        histograms as SVG
report       the page
explore      all of it, kept beside the version
"""
