"""The table catalog, and the files that its tables consist of."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tasks.errors import ConfigError, NotFound
from tasks.lake import Lake, open_lake
from tasks.lake.table_schemas import TABLES
from tasks.operations.doctor.findings import Finding, check, ok, wrong
from tasks.operations.doctor.patient import Patient

_FILES = "tables/"
_RESTORE = "restore the catalog's database from a backup, of the same moment as the bucket"
_SHOWN = 3


@check("catalog.there")
def there(patient: Patient) -> Iterator[Finding]:
    """The catalog is there; one that was lost is never taken for a new one."""
    path = patient.catalog_file
    if path is None or not patient.settings.s3.endpoint:
        return
    if path.exists():
        yield ok(str(path))
    elif next(iter(patient.session.lake.store.list(_FILES)), None) is not None:
        yield wrong(f"{path}: is gone, and the lake's bucket holds tables", _RESTORE)
    else:
        yield ok(f"{path}: made when the first table is")


@check("catalog.tables")
def tables(patient: Patient) -> Iterator[Finding]:
    """Every table can be read: its metadata, and all files that it consists of are there."""
    if not patient.has_tables:
        return
    readable, known, broken = [], 0, False
    with _remembering_nothing(patient) as lake:
        for table in TABLES:
            try:
                missing = lake.tables.missing_files(table)
                known += lake.tables.snapshot_id(table) is not None
            except ConfigError as error:
                yield wrong(error.thing, error.fix or "check NIGHTSCOPE_CATALOG__*")
                return  # the others are refused, too
            except NotFound as error:
                broken = True
                yield wrong(f"table {table}: a file that names its others is gone: {error.thing}", _RESTORE)
                continue
            if missing:
                shown = ", ".join(missing[:_SHOWN])
                yield wrong(f"table {table}: {len(missing)} of its files are gone: {shown}", _RESTORE)
            else:
                readable.append(table)
        if not known and not broken and next(iter(lake.store.list(_FILES)), None) is not None:
            yield wrong("the catalog knows no table, and the lake's bucket holds tables", _RESTORE)
        elif readable:
            yield ok(f"{known} tables, all files there" if len(readable) == len(TABLES) else ", ".join(readable))


@contextmanager
def _remembering_nothing(patient: Patient) -> Iterator[Lake]:
    """The lake with empty caches: a local copy would hide what is gone."""
    settings = patient.settings
    with tempfile.TemporaryDirectory(prefix="nightscope-doctor-") as folder:
        lake = open_lake(settings.model_copy(update={"state_dir": Path(folder), "catalog_uri": settings.iceberg_uri}))
        try:
            yield lake
        finally:
            lake.close()
