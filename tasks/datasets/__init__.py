"""Dataset versions: which group is in which split, what is frozen, how it reaches a trainer's disk.

`freeze.freeze` makes a version out of validated annotations (`splits` places their groups, the room `leakage`
finds what stands in two splits); a line's kind lays one out on local disk.
"""
