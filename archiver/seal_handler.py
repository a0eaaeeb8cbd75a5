"""One invocation of the function that seals: what `archiver.handler.seal` does once it is called.

A module of its own, imported by that call, so that no batch waits for cryptography. Invariants: whatever can be sealed
is sealed before anything is raised; the first failure is the one that is told; time is an argument.
"""

from collections.abc import Iterable
from functools import cache

from archiver.config import SealConfig
from archiver.errors import ArchiverError
from archiver.format.layout import Trail
from archiver.format.seal import Seal, is_seal_name
from archiver.sealer import Sealer
from archiver.signer import open_signer
from archiver.store import ObjectStore, open_store
from archiver.telemetry import logger, report_seal_failure, report_sealing
from archiver.unsealed import Refused


class EvidenceRefused(ArchiverError):  # noqa: N818
    """Evidence failed its check and was left out; everything else was sealed. A retry cannot help."""


def seal_trail(environment: tuple[tuple[str, str], ...], *, now_ms: int) -> dict[str, int]:
    """Seals what is new in the trail that the environment names, up to `now_ms` (epoch ms), and answers with counts.

    Raises NotConfigured, SealRefused, KeyRefused, StoreUnavailable or StoreRefused, and EvidenceRefused at the end.
    """
    try:
        sealer = _sealer(environment)
        sealing = sealer.seal(now_ms)
    except Exception as error:
        _sealer.cache_clear()  # the key or the log may be others by the next time
        table, age_s = _what_is_left(environment, now_ms)
        report_seal_failure(error, table=table, age_s=age_s)
        raise
    report_sealing(sealing, table=sealer.trail.table_name)
    if sealing.refused:
        raise _refused(sealing.refused)
    return {"seals": len(sealing.seals), **sealing.entries}


@cache
def _sealer(environment: tuple[tuple[str, str], ...]) -> Sealer:
    """One sealer per container: it knows the log that it has read, and asks for the public key once."""
    config = SealConfig.from_environment(dict(environment))
    return Sealer(_store(config), config.trail, open_signer(config.signing_key))


def _store(config: SealConfig) -> ObjectStore:
    return open_store(config.archive_url, endpoint_url=config.endpoint_url)


def _what_is_left(environment: tuple[tuple[str, str], ...], now_ms: int) -> tuple[str, float | None]:
    """The table, and the age of its newest seal (s); None where there is none, or where that cannot be read either."""
    table = "unknown"
    try:
        config = SealConfig.from_environment(dict(environment))
        table = config.trail.table_name
        sealed_at_ms = _newest_sealed_at_ms(_store(config), config.trail)
    except Exception as error:  # noqa: BLE001  sealing has failed: that error is raised, this one is told
        logger.warning("the age of the newest seal is not known", error=str(error))
        return table, None
    return table, None if sealed_at_ms is None else (now_ms - sealed_at_ms) / 1_000


def _newest_sealed_at_ms(store: ObjectStore, trail: Trail) -> int | None:
    names = [name for name, _ in store.list(f"{trail.prefix}seals/") if is_seal_name(name.removeprefix(trail.prefix))]
    return Seal.parse(store.get(max(names))).interval.sealed_at_ms if names else None


def _refused(refused: Iterable[Refused]) -> EvidenceRefused:
    first, *others = refused
    more = f", and {len(others)} more" if others else ""
    return EvidenceRefused(
        f"{first.name} failed its check and was not sealed: {first.why}{more}",
        hint="everything else was sealed; docs/operations.md, Evidence refused",
    )
