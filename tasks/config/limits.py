"""What names and numbers may be."""

from __future__ import annotations

import re

LARGEST = 2**53
"""Whole numbers up to here survive JSON everywhere."""

LINE_NAME = r"^[a-z][a-z0-9-]{1,48}[a-z0-9]$"
"""What a line may be called."""

DEVICE = re.compile(r"cpu|\d{1,3}|(GPU|MIG)-[A-Za-z0-9/-]{1,80}")
"""What a training may be told to run on, whole."""

MIN_GROUPS = 3
"""Groups a line needs before it can split: two to train on, one to test on."""
