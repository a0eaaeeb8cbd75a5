"""The objects of the archive that a package was made from, each with the digest of the bytes that were read."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from query.evidence.package import digest_of
from query.evidence.scope import Scope
from query.plan import changes_between
from query.render.sheet import Column, Sheet
from query.source import ObjectVersion, Retention, Source, StoredObject
from query.table import Table

_FETCHED_AT_ONCE: Final = 256


@dataclass(frozen=True, slots=True)
class _File:
    stored: StoredObject
    kind: str
    sha256: str
    is_sealed: bool | None
    version_id: str | None
    retention: Retention | None


SOURCE_COLUMNS: Final = (
    Column("object", lambda file: file.stored.name),
    Column("kind", lambda file: file.kind),
    Column("bytes", lambda file: file.stored.size_bytes, "integer"),
    Column("sha256", lambda file: file.sha256),
    Column("is_sealed", lambda file: file.is_sealed, "boolean"),
    Column("version_id", lambda file: file.version_id),
    Column("retention_mode", lambda file: file.retention and file.retention.mode),
    Column("retain_until", lambda file: file.retention and file.retention.until_ms, "time"),
)


def source_sheet(source: Source, table: Table, scope: Scope) -> Sheet:
    """A row for each segment of the hours of the period, each description of a stream, and each seal."""
    names = tuple(column.name for column in SOURCE_COLUMNS)
    return Sheet(SOURCE_COLUMNS, _files(source, table, scope), names, names)


def _files(source: Source, table: Table, scope: Scope) -> Iterator[_File]:
    prefix = table.trail.prefix
    chosen = changes_between(table.evidence, scope.since_ms, scope.until_ms).segments
    wanted = [(one.stored, "segment", one.is_sealed) for one in chosen]
    wanted += [(one, "stream description", None) for one in source.objects(f"{prefix}streams/")]
    wanted += [(one, "seal", None) for one in source.objects(f"{prefix}seals/")]
    versions = _versions(source, prefix)
    for start in range(0, len(wanted), _FETCHED_AT_ONCE):
        some = wanted[start : start + _FETCHED_AT_ONCE]
        kept = _retentions(source, [versions[one.name] for one, _, _ in some if one.name in versions])
        for (stored, kind, is_sealed), digest in zip(some, _digests(source, [one[0] for one in some]), strict=True):
            version = versions.get(stored.name)
            version_id = None if version is None else version.version_id
            yield _File(stored, kind, digest, is_sealed, version_id, kept.get(stored.name))


def _digests(source: Source, stored: Sequence[StoredObject]) -> Iterator[str]:
    for path in source.fetch(stored):
        with path.open("rb") as file:
            yield digest_of(file)


def _retentions(source: Source, versions: Sequence[ObjectVersion]) -> dict[str, Retention]:
    found = source.retentions(versions)
    return {} if found is None else {one.name: kept for one, kept in zip(versions, found, strict=True)}


def _versions(source: Source, prefix: str) -> dict[str, ObjectVersion]:
    """The version of each object; nothing where objects have none. More than one is for the verification to find."""
    listed = source.versions(prefix)
    return {} if listed is None else {one.name: one for one in listed if not one.is_delete_marker}
