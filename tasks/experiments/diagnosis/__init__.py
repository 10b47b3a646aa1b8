"""Where a line's model fails, and what to do next: `nightscope diagnose`.

    diagnosing.py      the whole of it: looks, and hands down
    findings.py        what was found, as JSON has it
    learning_curve.py  would more data help? (trains)
    labels.py          labels that models contradict which have not learned from them
    slices.py          by size, class, density of objects, recording
    training.py        how the champion's training ended
    advice.py          the rules that make three sentences of it
    report.py          the page

Nothing is registered, and the champion, the nights and the registry stay as they are.
"""

from tasks.experiments.diagnosis.diagnosing import diagnose
from tasks.experiments.diagnosis.findings import DiagnosisReport

__all__ = ["DiagnosisReport", "diagnose"]
