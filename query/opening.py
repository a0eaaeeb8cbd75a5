"""How an archive is opened: where it lies, and what the configuration says of it. The clock of the Python API is read
here, and nowhere below.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from query.archive import Archive, Clock
from query.engine import Engine
from query.sealed import SealReader
from query.settings import Settings
from query.source import Access, Source, open_source


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def open_archive(
    url: str,
    *,
    settings: Settings | None = None,
    access: Access | None = None,
    profile: str | None = None,
    region: str | None = None,
    endpoint_url: str | None = None,
    memory_limit: str | None = None,
    threads: int | None = None,
    key_schema: Mapping[str, tuple[str, ...]] | None = None,
    actor_attribute: Mapping[str, str] | None = None,
    redact: Mapping[str, Sequence[str]] | None = None,
    redaction_key: bytes | None = None,
    zone: str | None = None,
    check_seals: bool | None = None,
    derived_url: str | None = None,
    pinned_key: Path | None = None,
    now_ms: Clock = _now_ms,
) -> Archive:
    """Opens an archive for reading; nothing is read yet but whether a folder exists.

    `settings` (the CLI's configuration) fills in what is not given. `memory_limit` is a size as DuckDB writes it
    (`4GB`), `key_schema` names the key attributes of tables whose stream description is missing, `actor_attribute` the
    attribute of each table (a path such as `meta.updated_by`) that names who wrote an item, `zone` is the zone of times
    without one. `redact` are the attributes of each table that are masked wherever values become text, with digests
    under `redaction_key` (without one, under a key of this object alone); images and items in Python are never masked.
    `derived_url` is where runs and snapshots lie: of a folder in itself, else nowhere if not given.
    Sealed files are checked against their seals unless `check_seals` is false; `pinned_key` is the
    public key (PEM) that must have signed the logs. Raises UnreadableArchive or UsageError.
    """
    settings = settings or Settings()
    if access is None:
        chosen = {
            "profile": profile or settings.profile,
            "region": region or settings.region,
            "endpoint_url": endpoint_url or settings.endpoint_url,
        }
        cache = {"cache_dir": settings.cache_dir} if settings.origins else {}
        access = Access(**chosen, **cache, cache_limit_bytes=settings.cache_limit_bytes)  # type: ignore[arg-type]
    configured = {name: table.key_schema for name, table in settings.tables.items() if table.key_schema}
    actors = {name: table.actor_attribute for name, table in settings.tables.items() if table.actor_attribute}
    masked = {name: table.redact for name, table in settings.tables.items() if table.redact}
    source = open_source(url, access)
    derived_url = derived_url or settings.derived_url or (None if url.startswith("s3://") else url)
    derived = source if derived_url == url else None if derived_url is None else _derived_source(derived_url, access)
    is_checked = settings.check_seals if check_seals is None else check_seals
    return Archive(
        source,
        lambda: Engine(memory_limit=memory_limit or settings.memory_limit, threads=threads or settings.threads),
        key_schema={**configured, **settings.key_schema, **(key_schema or {})},
        actor_attribute={**actors, **(actor_attribute or {})},
        redact={**masked, **(redact or {})},
        redaction_key=redaction_key or settings.redaction_key_bytes,
        now_ms=now_ms,
        zone=zone or settings.tz,
        seals=_seal_reader(source, access, pinned_key or settings.pinned_key) if is_checked else None,
        derived=derived,
        settings=replace(
            settings, memory_limit=memory_limit or settings.memory_limit, threads=threads or settings.threads
        ),
    )


def _derived_source(url: str, access: Access) -> Source | None:
    """Where derived data lies; None for a folder that nobody has made yet."""
    if not url.startswith("s3://") and not Path(url.removeprefix("file://")).is_dir():
        return None
    return open_source(url, access)


def _seal_reader(source: Source, access: Access, pinned_key: Path | None) -> SealReader:
    folder = access.cache_dir.expanduser() / "logs"
    if pinned_key is None:
        return SealReader(source, folder=folder)
    from query.note_check import load_public_key  # noqa: PLC0415  cryptography takes its time

    return SealReader(source, pinned=load_public_key(pinned_key), folder=folder)
