"""What Lambda and CloudWatch are asked about whoever reads the table's stream.

Invariant: a listing that was given up before its end, and a function that cannot be seen, are not known: ours may be
among them.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from query.operate.answers import Answer, Missing, Said, Unknown, is_said
from query.operate.aws import Asker
from query.operate.facts import Lag, Readers, StreamReader

_LAG_WINDOW: Final = timedelta(hours=3)  # at one point a minute far below the 1,440 that one answer holds
_MOST_PAGES: Final = 50  # 100 mappings each

Mapped = Mapping[str, Any]


def readers_of(lambda_: Asker, table: Said) -> Readers:
    """Who reads the stream that a described table has now, and, if none of them archives, who reads former ones."""
    latest_arn = table.get("LatestStreamArn")
    streams = f"{table.get('TableArn')}/stream/"
    latest = _read_by(lambda_, streams, {"EventSourceArn": latest_arn}) if latest_arn else ()
    if isinstance(latest, Unknown) or any(reader.is_ours for reader in latest):
        return Readers(latest)
    # A mapping stays bound to the stream it was made for: a re-created stream leaves it reading the old one.
    return Readers(latest, _read_by(lambda_, streams, {}, beside=latest_arn))


def _read_by(
    lambda_: Asker, streams: str, request: dict[str, Any], *, beside: str | None = None
) -> tuple[StreamReader, ...] | Unknown:
    """The mappings that a request lists of streams whose ARN begins so, but for those of the stream `beside`."""
    listed = lambda_.list(
        "list_event_source_mappings",
        "lambda:ListEventSourceMappings",
        "EventSourceMappings",
        most_pages=_MOST_PAGES,
        **request,
    )
    if isinstance(listed, Missing | Unknown):
        return listed if isinstance(listed, Unknown) else Unknown(listed.what)
    if not listed.is_whole:
        return Unknown(f"more than {len(listed.items)} event source mappings: not all were read")
    return tuple(
        _stream_reader(lambda_, mapping)
        for mapping in listed.items
        if str(mapping.get("EventSourceArn")).startswith(streams) and mapping.get("EventSourceArn") != beside
    )


def _stream_reader(lambda_: Asker, mapping: Mapped) -> StreamReader:
    if mapping.get("KMSKeyArn"):
        # "If filter criteria is encrypted, this field shows up as null in the response of ListEventSourceMapping"
        # (API *EventSourceMappingConfiguration*): only Get decrypts it.
        whole = mapping_of(lambda_, mapping)
        mapping = {**mapping, **whole} if is_said(whole) else mapping
    function = lambda_.ask(
        "get_function_configuration",
        "lambda:GetFunctionConfiguration",
        missing={"ResourceNotFoundException": "the function is gone"},
        FunctionName=mapping.get("FunctionArn", ""),
    )
    return StreamReader(mapping, function)


def mapping_of(lambda_: Asker, mapping: Mapped) -> Answer:
    """A mapping as it is now."""
    return lambda_.ask("get_event_source_mapping", "lambda:GetEventSourceMapping", UUID=mapping.get("UUID", ""))


def concurrency_of(lambda_: Asker, mapping: Mapped) -> Answer:
    """The concurrency reserved for the function that a mapping calls."""
    function = ":".join(_arn_parts(mapping)[:7])  # without version or alias
    return lambda_.ask("get_function_concurrency", "lambda:GetFunctionConcurrency", FunctionName=function)


def lag_of(cloudwatch: Asker, mapping: Mapped, now_ms: int) -> Lag | Missing | Unknown:
    """How old the records of the newest batch were, as CloudWatch has it; Missing without a recent batch."""
    until = datetime.fromtimestamp(now_ms / 1_000, UTC)
    answer = cloudwatch.ask(
        "get_metric_statistics",
        "cloudwatch:GetMetricStatistics",
        Namespace="AWS/Lambda",
        MetricName="IteratorAge",
        Dimensions=[{"Name": "FunctionName", "Value": "".join(_arn_parts(mapping)[6:7])}],
        StartTime=until - _LAG_WINDOW,
        EndTime=until,
        Period=60,
        Statistics=["Maximum"],
    )
    if isinstance(answer, Missing | Unknown):
        return answer
    points = sorted(answer.get("Datapoints") or (), key=lambda point: point["Timestamp"])
    if not points:
        return Missing(f"no batch in the last {_LAG_WINDOW // timedelta(hours=1)} hours")
    newest = points[-1]
    return Lag(round(newest["Maximum"]), round(newest["Timestamp"].timestamp() * 1_000))


def _arn_parts(mapping: Mapped) -> list[str]:
    """Of `arn:aws:lambda:<region>:<account>:function:<name>[:<version or alias>]`."""
    return str(mapping.get("FunctionArn")).split(":")
