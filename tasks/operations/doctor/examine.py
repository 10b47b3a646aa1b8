"""Makes the checks, one after the other; one that breaks is `unknown`, and stops no other."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence

from tasks.errors import ConfigError, NightscopeError
from tasks.operations.doctor.findings import Check, Checkup, Finding, in_order, unknown
from tasks.operations.doctor.patient import Patient

log = logging.getLogger(__name__)


def examine(patient: Patient | None = None, names: Sequence[str] = ()) -> Checkup:
    """Look at an installation. It is not changed, but for probes that are written and removed again.

    Args:
        patient: The installation; default the one that the environment names.
        names: Make these checks only: whole names, or what stands before the dot.

    Raises:
        ConfigError: There is no check of such a name.
    """
    began, patient = time.monotonic(), patient or Patient.here()
    chosen = _chosen(names)
    if _only_brings(patient):
        chosen = [each for each in chosen if each.everywhere]
    try:
        findings = tuple(finding for each in chosen for finding in _made(each, patient))
    finally:
        patient.close()
    healthy = all(finding.state in ("ok", "warning") for finding in findings)
    return Checkup(healthy=healthy, findings=findings, seconds=round(time.monotonic() - began, 1))


def _chosen(names: Sequence[str]) -> list[Check]:
    every = in_order()
    known = {each.name for each in every} | {each.name.partition(".")[0] for each in every}
    if strange := [name for name in names if name not in known]:
        raise ConfigError(
            f"doctor: no check {', '.join(strange)}", expected=", ".join(sorted(known)), fix="leave it out for all"
        )
    return [each for each in every if not names or each.name in names or each.name.partition(".")[0] in names]


def _only_brings(patient: Patient) -> bool:
    try:
        return patient.settings.only_brings
    except NightscopeError:  # the settings' own check says so
        return False


def _made(check: Check, patient: Patient) -> Iterator[Finding]:
    log.debug("%s: %s", check.name, check.about)
    found: list[Finding] = []
    try:
        found.extend(check.look(patient))
    except NightscopeError as error:
        said = "; ".join([error.thing, *([f"found {error.found}"] if error.found else [])])
        found.append(unknown(f"could not be looked at: {said}", error.fix))
    except Exception as error:  # a check that breaks is no verdict on what it looks at
        log.debug("check %s broke", check.name, exc_info=True)
        found.append(unknown(f"could not be looked at: {type(error).__name__}: {error}"))
    for each in found:
        fix = None if each.fix is None else patient.without_secrets(each.fix)
        yield each.model_copy(update={"check": check.name, "found": patient.without_secrets(each.found), "fix": fix})
