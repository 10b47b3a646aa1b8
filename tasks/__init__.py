"""Nightscope: each day's recordings and labels become a better model every night, when the evidence says so."""

import os

__version__ = "0.1.0"

# Threads of torch wait for each other in a loop that keeps a core busy. Where trainings, tests or an annotator's
# services share the cores, a step took 2.8 to 4.5 s instead of 0.9 (measured on two full cores); so threads wait
# busily for a moment only, which costs nothing on a machine that does nothing else. libgomp reads it when it is loaded,
# which is after this package.
os.environ.setdefault("GOMP_SPINCOUNT", "3000")
