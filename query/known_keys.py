"""The key schema of a table, from what describes it. Pure."""

from collections.abc import Sequence

from query.catalog import Evidence
from query.errors import UsageError
from query.key_schema import KeyAttribute, KeySchema


def key_schema_of(evidence: Evidence, key_names: tuple[str, ...] | None) -> KeySchema | None:
    """The key schema that the newest description states; `key_names` may correct nothing but its order."""
    described = [description.key_schema for _, description in sorted(evidence.streams.items())]
    described += [baseline.description.key_schema for baseline in evidence.baselines] if not described else []
    if not described:
        return None
    types = dict(described[-1])
    names = key_names if key_names is not None and set(key_names) == set(types) else tuple(types)
    return _schema([(name, types[name]) for name in names])


def typed_schema(key_names: tuple[str, ...], item_key: str, table: str) -> KeySchema:
    import orjson  # noqa: PLC0415

    types = {name: next(iter(value)) for name, value in orjson.loads(item_key).items()}
    if set(types) != set(key_names):
        raise UsageError(
            f"the key schema {','.join(key_names)} is not that of {table}",
            why=f"its keys have the attributes {', '.join(sorted(types))}",
            hint="correct --key-schema",
        )
    return _schema([(name, types[name]) for name in key_names])


def _schema(attributes: Sequence[tuple[str, str]]) -> KeySchema:
    partition, *sort = (KeyAttribute(name, kind) for name, kind in attributes)  # type: ignore[arg-type]
    return KeySchema(partition, sort[0] if sort else None)
