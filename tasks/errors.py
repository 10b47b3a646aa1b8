"""Every error Nightscope raises on purpose, as one tree.

    NightscopeError
    ├── ConfigError            settings, a line's YAML or an argument is wrong        → fail, no retry
    ├── DataError              the data is wrong                                      → fail, no retry
    │   ├── UnreadableRecording    a file is not the recording it claims to be        → quarantine, go on
    │   ├── IntegrityError         bytes do not match the hash that names them
    │   │   └── SignatureError         a signature is missing, wrong, or by a key that is not trusted here
    │   ├── LeakageError           a group or frame stands in two splits
    │   ├── InsufficientData       the line has too little data to learn or to judge
    │   └── NotFound               a named thing does not exist
    ├── StepFailed             a step's own work broke (a training crashed)            → fail, no retry
    ├── StepKilled             a step's subprocess was killed from outside            → retry, it resumes
    ├── TransportError         a service did not answer, or not properly              → retry with backoff
    │   ├── StorageUnavailable     S3 or the table catalog
    │   │   └── LockLost               a lock was lost while at work: another may hold it
    │   └── ServiceUnavailable     Label Studio, MLflow or Airflow
    ├── StackError             an embedded service cannot start, or died
    └── NothingToDo            there is no work: not a failure                        → skip

A message names the thing, what was expected, what was found, and what to do. Airflow's view of this tree (retry, fail
or skip) is in `plugins/nightscope_airflow/failures.py`; nothing else translates.
"""

from __future__ import annotations


class NightscopeError(Exception):
    """The root of all errors raised on purpose.

    Args:
        thing: What this is about and what is wrong with it, e.g. ``"recording 'a.mp4': cannot be decoded"``.
        expected: What would have been right.
        found: What there was instead.
        fix: What the reader can do about it.
    """

    def __init__(
        self, thing: str, *, expected: str | None = None, found: str | None = None, fix: str | None = None
    ) -> None:
        super().__init__(thing)
        self.thing = thing
        self.expected = expected
        self.found = found
        self.fix = fix

    def __str__(self) -> str:
        parts = [self.thing]
        if self.expected is not None:
            parts.append(f"expected {self.expected}")
        if self.found is not None:
            parts.append(f"found {self.found}")
        if self.fix is not None:
            parts.append(f"to fix: {self.fix}")
        return "; ".join(parts)


class ConfigError(NightscopeError):
    """Settings, a line's YAML or an argument is wrong. Lists all faults at once."""


class DataError(NightscopeError):
    """The data is wrong; trying again cannot help."""


class UnreadableRecording(DataError):
    """A file is not the recording it claims to be. Its reason goes to quarantine and the night goes on."""


class IntegrityError(DataError):
    """Bytes do not match the hash that names them."""


class SignatureError(IntegrityError):
    """What must be signed is not, or not by a key that this installation trusts, or was signed as something else."""


class LeakageError(DataError):
    """A group, recording or frame stands in two splits."""


class InsufficientData(DataError):
    """The line has too little data to learn from or to judge by; says what is missing."""


class NotFound(DataError):
    """A named recording, frame, dataset version or model does not exist."""


class StepFailed(NightscopeError):
    """A step's own work broke, e.g. the training subprocess crashed."""


class StepKilled(NightscopeError):
    """A step's subprocess was killed from outside (a signal, out of memory). Its next try resumes."""


class TransportError(NightscopeError):
    """A service did not answer, or not properly. Worth another try."""


class StorageUnavailable(TransportError):
    """S3 or the table catalog did not answer."""


class LockLost(StorageUnavailable):
    """A lock of the whole installation was lost while at work, e.g. with its connection. Nothing more was written."""


class ServiceUnavailable(TransportError):
    """Label Studio, MLflow or Airflow did not answer."""


class StackError(NightscopeError):
    """An embedded service cannot start, or died."""


class NothingToDo(NightscopeError):
    """There is no work: not a failure. Airflow shows the step as skipped."""
