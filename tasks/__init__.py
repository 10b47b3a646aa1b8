"""Nightscope: each day's recordings and labels become a better model every night, when the evidence says so."""

__version__ = "0.1.0"
