"""`nightscope doctor`: what is wrong with an installation, and what to do about it.

A check is a function in one of this room's files, entered by `@check`; it yields findings. Importing a file
here is what makes its checks known.
"""

from __future__ import annotations

from tasks.operations.doctor import (
    airflow,
    catalog,
    devices,
    evidence,
    label_studio,
    lines,
    locks,
    mlflow,
    nights,
    programs,
    s3,
    s3_keys,
    services,
    settings,
    signing,
    state_folder,
)
from tasks.operations.doctor.examine import examine
from tasks.operations.doctor.findings import Checkup, Finding, in_order
from tasks.operations.doctor.patient import Patient

__all__ = [
    "Checkup",
    "Finding",
    "Patient",
    "airflow",
    "catalog",
    "devices",
    "evidence",
    "examine",
    "in_order",
    "label_studio",
    "lines",
    "locks",
    "mlflow",
    "nights",
    "programs",
    "s3",
    "s3_keys",
    "services",
    "settings",
    "signing",
    "state_folder",
]
