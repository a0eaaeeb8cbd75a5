"""Checks of the function that archives, and of the key schema that everyone must agree on."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from archiver.format.description import KeySchema
from query.errors import UsageError
from query.key_schema import ANY_TABLE, parse_key_schemas
from query.operate.answers import Answer, Missing, Unknown
from query.operate.facts import (
    ARCHIVE_VARIABLE,
    HANDLER,
    KEY_SCHEMA_VARIABLE,
    StreamReader,
    TrailFacts,
    environment_of,
    is_same_url,
)
from query.operate.finding import Finding, failed, not_checked, passed, warned

RUNTIME: Final = "python3.13"  # what `make package` builds for, as infra/template.yaml says
_LEAST_MEMORY_MB: Final = 512
_CODES: Final = ("function-handler", "function-runtime", "function-memory", "function-archive")


def check_function(
    reader: StreamReader | Missing | Unknown, concurrency: Answer, archive_url: str | None, *, is_assumed: bool
) -> Iterator[Finding]:
    """Its code, its size, where it writes to, and whether it may run at all."""
    if isinstance(reader, Missing | Unknown) or isinstance(reader.function, Missing | Unknown):
        unseen = reader if isinstance(reader, Missing | Unknown) else reader.function
        why = unseen.why if isinstance(unseen, Unknown) else "there is no function of ddbtrail"
        yield from (not_checked(code, why) for code in (*_CODES, "function-concurrency"))
        return
    function = reader.function
    yield _handler(function)
    yield _runtime(function)
    yield _memory(function)
    yield _archive(function, archive_url, is_assumed=is_assumed)
    yield _concurrency(concurrency)


def _handler(function: Mapping[str, Any]) -> Finding:
    code, handler, state = "function-handler", function.get("Handler"), function.get("State")
    if state == "Failed":
        why = f"the function's state is Failed: {function.get('StateReason', 'no reason was given')}"
        return failed(code, why, "deploy the stack again")
    if handler == HANDLER:
        return passed(code, HANDLER)
    if handler is None:
        return not_checked(code, "it is a container image, or AWS did not say its handler")
    return warned(
        code, f"it is {handler}, not {HANDLER}", "let it end in archiver.handler.archive, or deploy the package"
    )


def _runtime(function: Mapping[str, Any]) -> Finding:
    runtime = function.get("Runtime")
    if runtime is None:
        return not_checked("function-runtime", "it is a container image, or AWS did not say its runtime")
    if runtime == RUNTIME:
        return passed("function-runtime", RUNTIME)
    why = f"it is {runtime}; the released package is built for {RUNTIME}"
    return warned("function-runtime", why, "deploy the template of the release, or a package of your own build")


def _memory(function: Mapping[str, Any]) -> Finding:
    memory_mb = function.get("MemorySize")
    if memory_mb is None:
        return not_checked("function-memory", "AWS did not say it")
    if memory_mb >= _LEAST_MEMORY_MB:
        return passed("function-memory", f"{memory_mb} MB")
    why = f"{memory_mb} MB: a full batch needs up to 256 MB of its own, and little memory is little CPU"
    return warned("function-memory", why, f"deploy with MemorySize={_LEAST_MEMORY_MB} or more")


def _archive(function: Mapping[str, Any], archive_url: str | None, *, is_assumed: bool) -> Finding:
    code, environment = "function-archive", environment_of(function)
    if isinstance(environment, Unknown):
        return not_checked(code, environment)
    written = environment.get(ARCHIVE_VARIABLE)
    if not written:
        return failed(code, f"{ARCHIVE_VARIABLE} is not set: every batch fails", "deploy the stack again")
    if is_assumed or archive_url is None:
        return not_checked(code, f"it writes to {written}; no archive was named to compare it with")
    if is_same_url(written, archive_url):
        return passed(code, f"it writes to {written}")
    why = f"it writes to {written}, and you ask about {archive_url}"
    return failed(code, why, f"type -a {written}, or deploy with that ArchiveBucket and ArchivePrefix")


def _concurrency(concurrency: Answer) -> Finding:
    code = "function-concurrency"
    if isinstance(concurrency, Missing | Unknown):
        return not_checked(code, concurrency if isinstance(concurrency, Unknown) else concurrency.what)
    reserved = concurrency.get("ReservedConcurrentExecutions")
    if reserved == 0:
        fix = "aws lambda delete-function-concurrency --function-name NAME (docs/operations.md, Throttles)"
        return failed(code, "reserved concurrency is 0: the function cannot run", fix)
    return passed(code, "none reserved" if reserved is None else f"{reserved} reserved")


def check_key(
    table: Answer, reader: StreamReader | Missing | Unknown, trail: TrailFacts | Missing | Unknown | None
) -> Finding:
    """The table's own key schema against what the archive says of its streams, and what the function was told."""
    if isinstance(table, Missing | Unknown):
        return not_checked("key", "the table could not be read")
    live = key_of(table)
    shown = ", ".join(f"{name} {kind}" for name, kind in live)
    against = []
    if isinstance(trail, TrailFacts) and trail.key_schemas:
        latest = str(table.get("LatestStreamLabel"))
        label = latest if latest in trail.key_schemas else max(trail.key_schemas)
        described = trail.key_schemas[label]
        if described != live:
            kept = ", ".join(f"{name} {kind}" for name, kind in described)
            why = f"the table's key is {shown}, the archive has {kept} for the stream {label}"
            return failed("key", why, "was the table made anew? deploy with its new stream, and import a baseline")
        against.append("the archive's")
    told = _told_key(str(table.get("TableName")), reader)
    if isinstance(told, UsageError):
        why = f"{KEY_SCHEMA_VARIABLE} of the function: {told.message}"
        return failed("key", why, "correct KeySchema: every batch fails until then")
    if told is not None:
        if told != tuple(name for name, _ in live):
            why = f"the table's key is {shown}, {KEY_SCHEMA_VARIABLE} of the function says {','.join(told)}"
            return failed("key", why, "correct KeySchema of the stack")
        against.append("the function's")
    if not against:
        return not_checked("key", f"it is {shown}; neither archive nor function says one to compare with")
    return passed("key", f"{shown}, and so is {' and '.join(against)}")


def key_of(table: Mapping[str, Any]) -> KeySchema:
    """Names and types of a described table's key, partition key first."""
    roles = {element["KeyType"]: element["AttributeName"] for element in table["KeySchema"]}
    types = {one["AttributeName"]: one["AttributeType"] for one in table["AttributeDefinitions"]}
    return tuple((roles[role], types[roles[role]]) for role in ("HASH", "RANGE") if role in roles)


def _told_key(table_name: str, reader: StreamReader | Missing | Unknown) -> tuple[str, ...] | UsageError | None:
    if isinstance(reader, Missing | Unknown) or isinstance(reader.function, Missing | Unknown):
        return None
    environment = environment_of(reader.function)
    if isinstance(environment, Unknown):
        return None
    try:
        schemas = parse_key_schemas(environment.get(KEY_SCHEMA_VARIABLE, ""))
    except UsageError as error:
        return error
    return schemas.get(table_name) or schemas.get(ANY_TABLE)
