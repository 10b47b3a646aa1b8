"""The Iceberg catalog: which one this installation uses, how it is reached, and what its errors mean.

Any catalog that PyIceberg can load will do (SQL, REST, Glue, Hive, ...). Everything goes through its public
interface, so that a catalog's own rules hold: who may read what, and what "there is no such table" is. An answer
that is neither the table nor "no such table" is an error, never an empty table.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError
from pyiceberg.catalog import load_catalog
from pyiceberg.exceptions import (
    AuthorizationExpiredError,
    CommitStateUnknownException,
    ForbiddenError,
    NoSuchPropertyException,
    NotInstalledError,
    OAuthError,
    RESTError,
    UnauthorizedError,
)

from tasks.errors import ConfigError, NightscopeError, StorageUnavailable
from tasks.lake.fences import lock_lost, tokens_of
from tasks.lake.iceberg_io import StoreFileIO, store_properties
from tasks.lake.lock_database import database_of, same_database
from tasks.lake.locks import lake_lock

if TYPE_CHECKING:
    from pyiceberg.catalog import Catalog

    from tasks.config import Settings

_SQLITE_REFUSED = {"SQLITE_AUTH", "SQLITE_PERM", "SQLITE_READONLY", "SQLITE_CANTOPEN"}
_POSTGRES_REFUSED = ("42501", "28")
"""SQLSTATE insufficient_privilege, and the class of invalid authorisations."""
_AWS_REFUSED = {
    "AccessDeniedException", "AccessDenied", "ExpiredTokenException", "InvalidSignatureException",
    "UnrecognizedClientException",
}  # fmt: skip


def connect(settings: Settings) -> Catalog:
    """Connect to the catalog; an SQL catalog's own tables are made if they are not there.

    Raises:
        ConfigError: The settings are wrong, or the catalog refuses the user or token that they name.
        StorageUnavailable: The catalog did not answer.
    """
    if settings.catalog.type != "sql":
        return _connect_once(settings)
    with lake_lock(settings, "catalog"):  # two processes must not both make the catalog's tables
        try:
            return _connect_once(settings)
        except StorageUnavailable:
            # Another machine may have been making them at this very moment: then they are there now.
            return _connect_once(settings)


def _connect_once(settings: Settings) -> Catalog:
    with catalog_errors(settings, "connecting"):
        try:
            catalog = load_catalog(settings.catalog.name, **_properties(settings))
        except (ValueError, NotInstalledError, NoSuchPropertyException) as error:
            if isinstance(error, ValidationError):
                raise
            raise ConfigError(f"{described(settings)}: {error}", fix="check NIGHTSCOPE_CATALOG__*") from error
        if settings.iceberg_uri.startswith("sqlite"):
            _let_readers_read(catalog)
        elif settings.catalog.type == "sql":
            _fence(catalog, settings)
        return catalog


def _fence(catalog: Any, settings: Settings) -> None:
    """Let a transaction change something only while its writer's fencing tokens are the newest, where they are here.

    Whoever takes a lock anew changes its row, and so waits until a transaction that has read it is done: either this
    commit comes before the other's turn, or it is refused.
    """
    locks = settings.locks.uri.get_secret_value()
    if not same_database(settings.iceberg_uri, locks):
        return
    from sqlalchemy import event

    def before_execute(connection: Any, statement: Any, *_: object) -> None:
        if getattr(statement, "is_dml", False) and (mine := tokens_of(database_of(settings))):
            query = "SELECT name FROM nightscope_fences WHERE (name, token) IN %s FOR SHARE"
            found = {name for (name,) in connection.exec_driver_sql(query, (tuple(mine.items()),))}
            if older := sorted(mine.keys() - found):
                raise lock_lost(older, "another has had its turn since")

    event.listen(catalog.engine, "before_execute", before_execute)


def _let_readers_read(catalog: Any) -> None:
    """Set SQLite's journal so that readers do not wait for the writer, where this user may write to the file."""
    with catalog.engine.connect() as connection:
        if connection.exec_driver_sql("PRAGMA journal_mode").scalar() != "wal":
            connection.exec_driver_sql("PRAGMA journal_mode=WAL")


def _properties(settings: Settings) -> dict[str, str]:
    """What PyIceberg is told; the installation's own properties win."""
    chosen, uri = settings.catalog, settings.iceberg_uri
    own = {
        "type": chosen.type,
        "py-io-impl": f"{StoreFileIO.__module__}.{StoreFileIO.__name__}",
        **store_properties(settings.s3),
    }
    if chosen.type == "sql":
        own |= {"pool_pre_ping": "true", "warehouse": f"s3://{settings.s3.lake_bucket}/tables"}
        if uri.startswith("sqlite"):
            uri = f"{uri}{'&' if '?' in uri else '?'}timeout=60"
        # SQLAlchemy 2.1 takes a plain postgresql:// for another driver than the one that PyIceberg brings.
        uri = re.sub("^postgres(ql)?://", "postgresql+psycopg2://", uri)
    given = {name: secret.get_secret_value() for name, secret in chosen.properties.items()}
    return {**own, **({"uri": uri} if uri else {}), **given}


def described(settings: Settings) -> str:
    """The catalog's name and kind, and where it is, without what lets one in."""
    scheme, found, rest = settings.iceberg_uri.partition("://")
    where = f"{scheme}://{rest.rpartition('@')[2].partition('?')[0]}" if found else "its default address"
    return f"Iceberg catalog {settings.catalog.name!r} ({settings.catalog.type}, {where})"


@contextmanager
def catalog_errors(settings: Settings, doing: str) -> Iterator[None]:
    """Turn what the catalog's client raises into this project's errors.

    What the callers handle themselves (no such table, a commit that was overtaken) goes through as it is.

    Args:
        settings: Of this installation, to name the catalog.
        doing: What was tried, e.g. "reading table frames".

    Raises:
        ConfigError: The catalog knows us not, or lets us not do this.
        StorageUnavailable: It did not answer, or not properly.
    """
    try:
        yield
    except NightscopeError:
        raise
    except Exception as error:
        translated = _translated(error, f"{doing}: {described(settings)}")
        if translated is None:
            raise
        raise translated from error


def _translated(error: Exception, thing: str) -> NightscopeError | None:
    said = " ".join(str(getattr(error, "orig", None) or error).split())[:500]
    if _is_refusal(error):
        return ConfigError(
            f"{thing} refuses it ({said})",
            fix="grant the user or token of NIGHTSCOPE_CATALOG__* the right to do this, or name another one there",
        )
    if isinstance(error, CommitStateUnknownException):
        return StorageUnavailable(
            f"{thing} did not say whether the commit was made ({said})", fix="try again: rows with a key are added once"
        )
    if isinstance(error, RESTError | ValidationError) or _is_a(
        error,
        "sqlalchemy.exc.DBAPIError", "requests.exceptions.RequestException",
        "botocore.exceptions.ClientError", "botocore.exceptions.BotoCoreError",
    ):  # fmt: skip
        return StorageUnavailable(f"{thing} did not answer properly ({said})", fix="is it up?")
    return None


def _is_refusal(error: Exception) -> bool:
    """Whether the catalog answered, and the answer is that we may not."""
    if isinstance(error, ForbiddenError | UnauthorizedError | AuthorizationExpiredError | OAuthError):
        return True
    if _is_a(error, "sqlalchemy.exc.DBAPIError"):
        cause = getattr(error, "orig", None)
        state = getattr(cause, "pgcode", None) or getattr(cause, "sqlstate", None) or ""
        name = str(getattr(cause, "sqlite_errorname", ""))
        refused = any(name == code or name.startswith(f"{code}_") for code in _SQLITE_REFUSED)
        return refused or state.startswith(_POSTGRES_REFUSED) or "authentication failed" in str(cause)
    if _is_a(error, "botocore.exceptions.ClientError"):
        response: Any = getattr(error, "response", {})
        return response.get("Error", {}).get("Code") in _AWS_REFUSED
    return _is_a(error, "botocore.exceptions.NoCredentialsError")


def _is_a(error: Exception, *names: str) -> bool:
    """Whether an error is of a class, named in full: its library is only imported where its catalog is used."""
    return any(f"{kind.__module__}.{kind.__name__}" in names for kind in type(error).__mro__)
