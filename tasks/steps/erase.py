"""A donor's data goes, and may come again only where somebody says so; names behind pseudonyms."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from tasks.config import load_settings
from tasks.errors import ConfigError, NotFound
from tasks.lake import Lake, open_lake
from tasks.lake.tombstones import Tombstone
from tasks.schemas import Split

_NEAR = 5


def erase_donor(
    donor: str, reason: str, *, really: bool = False, told: Callable[[str], None] = lambda _: None
) -> dict[str, Any]:
    """Find all of a donor's data, and erase it if that is really wanted. Killed anywhere and run again, it goes on.

    Args:
        donor: As it was said when the recordings were added, or its pseudonym.
        reason: Kept on the tombstone, without the donor's name.
        really: Else nothing is changed.
        told: Hears the name of each step before it begins.

    Returns:
        `erased`; `counts` (what → how many); `recordings` (names); `labeling_tasks` (line → how many); `models` (each
        `line`, `version`, `dataset_version`, `weights_oid`, `why`); `lines` (to be trained again); `tombstone` (its
        key); `not_reached` (sentences: what no erasure reaches).

    Raises:
        NotFound: No such donor; lists near names.
        ConfigError: No reason was given.
        StorageUnavailable: A night, a training or an export is at work, or S3 did not answer: run it again.
        ServiceUnavailable: Label Studio or MLflow did not answer: run it again.
    """
    from tasks.evidence import erasure

    donor, reason = donor.strip(), reason.strip()
    if not donor or not reason:
        raise ConfigError("erase: a donor and a reason are needed", fix="--donor NAME --reason 'consent withdrawn'")
    settings = load_settings()
    lake = open_lake(settings)
    with erasure.quiet(lake) if really else nullcontext():  # what comes in meanwhile would be in no plan
        return _found_and_erased(lake, donor, reason, really, told)


def _found_and_erased(lake: Lake, donor: str, reason: str, really: bool, told: Callable[[str], None]) -> dict[str, Any]:
    from tasks.evidence import erasure
    from tasks.registry.models import open_registry
    from tasks.steps.who import os_user

    scope = erasure.scope_of(lake, donor)
    if scope is None:
        tombstone = tombstone_of(lake, donor)
        if tombstone is None:
            raise _unknown(donor, erasure.known_donors(lake))
        if really:
            erasure.finish(lake, tombstone, told)
        return _told(tombstone, erased=True)
    plan = erasure.make_plan(lake, scope, reason=reason, by=os_user())
    if not really:
        return _told(plan.tombstone, erased=False, recordings=plan.names, tasks=plan.tasks)
    registry = open_registry(lake.settings) if plan.runs else None
    tombstone = erasure.carry_out(lake, registry, scope, plan, told)
    return _told(tombstone, erased=True, recordings=plan.names, tasks=plan.tasks)


def tombstone_of(lake: Lake, donor: str) -> Tombstone | None:
    """A donor's tombstone, by name or pseudonym; None where there is none."""
    from tasks.lake.pseudonyms import pseudonym

    return lake.tombstones.of(donor) or lake.tombstones.of(pseudonym(lake.settings, "donor", donor))


def add_recordings(
    paths: list[Path],
    *,
    study: str | None = None,
    donor: str | None = None,
    um_per_px: float | None = None,
    fps_hz: float | None = None,
    split: Split | None = None,
    pseudonyms: bool = False,
    readmit: bool = False,
) -> Any:
    """Put recordings into the landing bucket: `tasks.ingest.landing.add`, whose report it returns.

    Args:
        pseudonyms: Replace the donor's and the files' names by pseudonyms; this machine keeps which is whose.
        readmit: The donor was erased, and comes again.

    Raises:
        ConfigError: The metadata is wrong, a donor is to be re-admitted who was never erased, or one whom this machine
            knows by a pseudonym is to be added in clear.
    """
    from tasks.ingest.landing import add
    from tasks.lake.pseudonyms import known_names, pseudonym
    from tasks.steps.who import os_user

    settings = load_settings()
    lake = open_lake(settings)
    known = known_names(settings)
    if donor and not pseudonyms and known and pseudonym(settings, "donor", donor) in known:
        raise ConfigError(
            "add: this donor has a pseudonym here, and would become a second donor by the clear name",
            fix="say --pseudonym, too",
        )
    if readmit:
        tombstone = tombstone_of(lake, donor) if donor else None
        if tombstone is None:
            raise ConfigError(f"add: no donor {donor or '(none)'!r} was erased", fix="leave --readmit out")
        lake.tombstones.readmit(tombstone, os_user())
    return add(
        lake, paths, study=study, donor=donor, um_per_px=um_per_px, fps_hz=fps_hz, split=split, pseudonyms=pseudonyms
    )


def resolve_names(names: list[str]) -> list[dict[str, str]]:
    """The table of pseudonyms that this machine keeps.

    Args:
        names: Pseudonyms or clear names to look up; none: all.

    Returns:
        Each `pseudonym` and `clear`.

    Raises:
        NotFound: One of the names is in neither column.
    """
    from tasks.lake.pseudonyms import known_names

    known = known_names(load_settings())
    unknown = [name for name in names if name not in known and name not in known.values()]
    if unknown:
        raise NotFound(
            f"pseudonym {unknown[0]!r}: this machine knows no such name or pseudonym",
            fix="look on the machine where the recordings were added",
        )
    rows = [{"pseudonym": own, "clear": clear} for own, clear in known.items()]
    chosen = [row for row in rows if not names or row["pseudonym"] in names or row["clear"] in names]
    return sorted(chosen, key=lambda row: row["clear"])


def erased_by(lake: Lake, line: str, version: str, dataset_version: str) -> list[dict[str, str]]:
    """Tombstones of what a model version learned from: `tombstone`, `at`."""
    return [
        {"tombstone": one.key, "at": one.at.isoformat()}
        for one in lake.tombstones.all()
        if one.learned(line, version, dataset_version)
    ]


def retrain_since(lake: Lake, line: str) -> str | None:
    """When a line was last marked for retraining: its nights of before do not count as done. ISO 8601; None: never."""
    return max((one.at.isoformat() for one in lake.tombstones.all() if line in one.lines), default=None)


def _told(
    tombstone: Tombstone, *, erased: bool, recordings: tuple[str, ...] = (), tasks: dict[str, int] | None = None
) -> dict[str, Any]:
    return {
        "erased": erased,
        "counts": tombstone.counts,
        "recordings": list(recordings),
        "labeling_tasks": tasks or {},
        "models": [model.model_dump(mode="json") for model in tombstone.models],
        "lines": sorted(tombstone.lines),
        "tombstone": tombstone.key,
        "not_reached": [
            "backups, and copies on other machines (run it again there: it clears their caches)",
            "what was exported, printed or downloaded",
            "what the models listed here have learned: their weights stay until their lines are trained again",
            "Airflow's database, and free pages of Label Studio's and MLflow's until a VACUUM",
        ],
    }


def _unknown(donor: str, known: list[str]) -> NotFound:
    folded = {name.casefold(): name for name in known}
    near = [folded[one] for one in difflib.get_close_matches(donor.casefold(), folded, _NEAR, 0.5)]
    near += [name for name in known if donor.casefold() in name.casefold() and name not in near]
    return NotFound(
        f"donor {donor!r}: the lake has no recording of theirs, and no tombstone",
        expected=f"one of: {', '.join(near[:_NEAR])}" if near else "a donor of the lake",
        found=f"{len(known)} donors, none of that name",
    )
