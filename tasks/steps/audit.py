"""The leak audit as a step: alone, and as the guard before every training."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from tasks.config import Settings, load_line, load_settings
from tasks.errors import ConfigError, LeakageError, NotFound
from tasks.lake import Lake, open_lake
from tasks.schemas import Oid

if TYPE_CHECKING:
    import pyarrow as pa

    from tasks.lake import Manifest
    from tasks.leakage import Audit

_PREFIX = re.compile(r"[0-9a-f]{6,64}")


def audit_dataset(name: str) -> dict[str, Any]:
    """Audit a dataset version: the newest of a line (or what would be frozen now, where there is none), or a named one.

    What is filed for the same rows and the same code is not computed again. A leak is a finding here, not an error.

    Args:
        name: A line, or a version's hash or its unambiguous beginning (6 digits or more).

    Returns:
        `line`, `dataset_version` (None: nothing is frozen yet), `passed`, the counts, `findings` (each with `pair_id`),
        `ruled_out` (by the close check), `cleared_by_people` (each with `finding` and `clear`: who, when, why) and
        `ignored_clears` in full, `result_oid`, `report_oid`, `report` (the report's address).

    Raises:
        NotFound: There is no such line or version, or the line has no labels yet.
        ConfigError: Several versions begin so.
        InsufficientData: Nothing is frozen yet, and too little is labelled to freeze.
    """
    settings = load_settings()
    lake = open_lake(settings)
    line, version = _resolve(settings, lake, name)
    rows = lake.datasets.load(line, version).rows if version else _about_to_be_frozen(settings, lake, line)
    found = audited(lake, line, rows)
    return {
        "line": line,
        "dataset_version": version,
        **found.as_json(),
        **found.in_full(),
        "result_oid": found.result_oid,
        "report": lake.blobs.uri(found.report_oid),
    }


def read_audit_report(report_oid: Oid) -> bytes:
    """The HTML report that an audit names."""
    return open_lake(load_settings()).blobs.get_bytes(report_oid)


def audited(lake: Lake, line: str, rows: pa.Table) -> Audit:
    """The audit of a split dataset's rows, recordings included: the filed one, or made and filed now."""
    from tasks.ingest.viewing import Viewer
    from tasks.leakage import audited as audited_by

    with Viewer(lake) as viewer:
        return audited_by(lake, line, rows, viewer)


def require_audit(lake: Lake, manifest: Manifest) -> None:
    """Let only a dataset version train that today's audit has passed; one that was never audited by it is audited now.

    Raises:
        LeakageError: It leaks; names the pairs and the report.
    """
    from tasks.leakage import filed, has_passed, require_passed

    if has_passed(filed(lake, manifest.line, manifest.rows) or {}):  # signed, which the version's own record is not
        return
    print(f"auditing dataset {manifest.version[:12]}: no audit by today's code is on record with it", flush=True)
    require_passed(lake, manifest.line, audited(lake, manifest.line, manifest.rows))


def require_apart(lake: Lake, line: str, dataset_version: str, champion_dataset_version: str) -> None:
    """Let only a champion be judged on a test split that it has not learned from, under whatever name.

    A recording and its copy may never stand in one dataset version, and still meet here: the labels of one were deleted
    after the champion had learned from it.

    Args:
        lake: Where both versions are; a champion's that is gone is said, and nothing is compared.
        line: Whose they are.
        dataset_version: Of which the test split is.
        champion_dataset_version: What the champion learned from: its train and val.

    Raises:
        LeakageError: The champion knows something of the test; names the pairs and the report.
    """
    from tasks.leakage import require_passed
    from tasks.leakage.apart import learned_and_tested

    if dataset_version == champion_dataset_version:
        return
    try:
        known = lake.datasets.load(line, champion_dataset_version).rows
    except NotFound:
        print(
            f"the champion learned from dataset {champion_dataset_version[:12]}, which is gone: nobody can tell "
            "whether it has seen tonight's test",
            flush=True,
        )
        return
    rows = learned_and_tested(known, lake.datasets.load(line, dataset_version).rows)
    copied = (
        "the champion has learned from a copy of this test recording: delete the copy's labels in the TEST split in "
        "Label Studio, or take it out, and run it again: this champion and the next are judged without it"
    )
    try:
        require_passed(lake, line, audited(lake, line, rows), if_copy=copied)
    except LeakageError as error:
        raise LeakageError(
            f"the champion has learned from what stands in tonight's test. {error.thing}",
            expected=f"nothing of the champion's dataset {champion_dataset_version[:12]} in the test split",
            found=error.found,
            fix=error.fix,
        ) from error


def _resolve(settings: Settings, lake: Lake, name: str) -> tuple[str, str | None]:
    """The line, and the version if there is one."""
    if (settings.lines_dir / f"{name}.yaml").is_file():
        known = lake.datasets.versions(name)
        return name, known[-1] if known else None
    if not _PREFIX.fullmatch(name):
        load_line(name, settings.lines_dir)  # says which lines there are
    found = sorted(
        (key[1], key[2])
        for key in (info.key.split("/") for info in lake.store.list("datasets/"))
        if len(key) == 4 and key[3] == "about.json" and key[2].startswith(name)
    )
    if not found:
        raise NotFound(f"{name}: neither a line nor the beginning of a dataset version", fix="nightscope verdicts LINE")
    if len(found) > 1:
        some = ", ".join(f"{version[:16]} ({line})" for line, version in found[:5])
        raise ConfigError(f"{name}: {len(found)} dataset versions begin so", found=some, fix="give more of its digits")
    return found[0]


def _about_to_be_frozen(settings: Settings, lake: Lake, name: str) -> pa.Table:
    """What a night would freeze now."""
    from tasks.datasets import splits
    from tasks.datasets.freeze import placed
    from tasks.validation.validate import validate

    line = load_line(name, settings.lines_dir)
    accepted = validate(lake, line).accepted
    planned = splits.plan(line, splits.pins_of(accepted), splits.recorded(lake, line))
    return placed(accepted, planned.splits)
