"""Checks of what lies beside the archive: the bucket of failed batches, and the place for derived data."""

from collections.abc import Iterator
from typing import Final

from query.instant import format_ms
from query.operate.answers import Missing, Unknown
from query.operate.checks_mapping import bucket_of, destination_of
from query.operate.facts import Bucket, HeldBack, OnFailure, Place, StreamReader, is_same_url
from query.operate.finding import Finding, failed, not_checked, passed, warned
from query.operate.lifecycle import check_lifecycle
from query.render.text import counted, size_text

# "aws/lambda/<ESM-UUID>/<shardID>/YYYY/MM/DD/…" (*Retain discarded records for a DynamoDB event source in Lambda*).
_FAILED_BATCHES: Final = "aws/lambda/"


def check_on_failure(
    on_failure: OnFailure | None, reader: StreamReader | Missing | Unknown, table: str
) -> Iterator[Finding]:
    """What is held back is not in the archive; and nothing there may expire."""
    if on_failure is None:
        why = "no on-failure bucket is named, and no mapping of ddbtrail tells of one"
        yield from (not_checked(code, why) for code in ("on-failure", "on-failure-empty", "on-failure-lifecycle"))
        return
    yield check_destination(on_failure, reader)
    yield held_back("on-failure-empty", on_failure.held_back, table)
    if on_failure.lifecycle is None:
        yield not_checked("on-failure-lifecycle", "it is a folder")
    elif isinstance(on_failure.held_back, Missing):
        yield not_checked("on-failure-lifecycle", on_failure.held_back.what)
    else:
        place = Place.of(on_failure.url)
        assert place is not None
        yield check_lifecycle("on-failure-lifecycle", on_failure.lifecycle, place, keeps_versions=False)


def check_destination(on_failure: OnFailure, reader: StreamReader | Missing | Unknown) -> Finding:
    """That one looks where the mapping puts failed batches: anywhere else nothing is ever held back."""
    code = "on-failure"
    if isinstance(reader, Missing | Unknown):
        return not_checked(code, reader.why if isinstance(reader, Unknown) else "there is no mapping of ddbtrail")
    destination = destination_of(reader.mapping)
    bucket = bucket_of(destination) if destination else None
    place = Place.of(on_failure.url)
    if bucket is None or place is None:
        return not_checked(code, "it is a folder" if place is None else "the mapping saves nothing in S3")
    folder = f"{_FAILED_BATCHES}{reader.mapping.get('UUID')}/"
    if bucket == place.bucket and folder.startswith(place.folder):
        return passed(code, f"failed batches go to {on_failure.url}")
    why = f"failed batches go to s3://{bucket}/{_FAILED_BATCHES}, and you ask about {on_failure.url}"
    return failed(code, why, f"type --on-failure s3://{bucket}")


def held_back(code: str, found: HeldBack | Missing | Unknown, table: str) -> Finding:
    """Objects in the on-failure bucket are changes that no answer knows of."""
    if isinstance(found, Missing):
        return failed(code, found.what, "deploy the stack again: failed batches have nowhere to go")
    if isinstance(found, Unknown):
        return not_checked(code, found).essential()
    if not found.objects and found.is_whole:
        return passed(code, f"{found.url} is empty")
    more = "" if found.is_whole else "more than "
    since = "" if found.oldest_ms is None else f", the oldest of {format_ms(found.oldest_ms)}"
    why = f"{more}{counted(found.objects, 'object')} ({size_text(found.size_bytes)}) in {found.url}{since}"
    return failed(code, f"{why}: changes that may not be in the archive", f"ddbtrail replay {table}")


def check_derived(archive_url: str | None, derived_url: str | None, derived: Bucket | None) -> Finding:
    """Derived data is deleted and made again; a lock, or evidence beside it, is in the way."""
    code = "derived"
    if derived_url is None:
        return not_checked(code, "no place for derived data is named (DDBTRAIL_DERIVED)")
    if derived is None:
        return not_checked(code, f"{derived_url} is a folder")
    evidence = Place.of(archive_url or "")
    fix = "use the bucket that the template makes for it (output DerivedUrl)"
    if is_same_url(archive_url, derived_url) or (evidence and evidence.bucket == derived.place.bucket):
        return warned(code, f"{derived_url} is in the archive's own bucket", fix)
    if isinstance(derived.head, Missing):
        return failed(code, derived.head.what, fix)
    if isinstance(derived.lock, Unknown):
        return not_checked(code, derived.lock)
    lock = {} if isinstance(derived.lock, Missing) else derived.lock.get("ObjectLockConfiguration") or {}
    if (lock.get("Rule") or {}).get("DefaultRetention"):
        return warned(code, f"{derived_url} is locked: what is derived cannot be replaced", fix)
    return passed(code, f"{derived_url} is no archive and has no retention")
