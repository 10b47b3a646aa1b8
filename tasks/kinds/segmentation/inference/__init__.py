"""From a picture of any size to its cells. Used by the training's measurements, the predictor, and the served model.

tiles.py    where tiles lie          pieces.py    a network's masks as small pictures with a place
joining.py  one cell for what two tiles saw       disjoint.py  no pixel of two cells; clean outlines; run lengths
predict.py  all of it

Memory grows with the picture, never with cells times picture: a cell's mask is as large as the cell, until it is run
lengths. Pieces, tiles and boxes are in pixels of the picture; only networks see scaled ones.
"""
