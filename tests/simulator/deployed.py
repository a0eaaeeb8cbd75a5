"""The event source mapping and the function as infra/template.yaml deploys them, in the simulator's words.

What is tested under these settings is what is deployed. A property of the mapping that the simulator does not know
fails here, loudly: add it to `mapping.py` first, by AWS's documents, then to `_MEANINGS`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from infra.cloudformation import sam_template
from tests.infra.resolved import PSEUDO, Resolved, allowed
from tests.simulator.table import ACCOUNT, REGION

STREAM_ARN = f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/orders/stream/2026-01-01T00:00:00.000"

# The sealer has a function and a role too; the mapping calls this one.
_MAPPING, _FUNCTION, _ROLE = "AWS::Lambda::EventSourceMapping", "ArchiveFunction", "ArchiveRole"
# "the batch reaches the payload limit of 6 MB", which cannot be changed (*How Lambda processes records from stream and
# queue-based event sources*).
_PAYLOAD_LIMIT_BYTES = 6_291_456


def deployed(**parameters: Any) -> dict[str, Any]:
    """Fields of `Scenario`, for a stack with these `parameters`. Raises AssertionError for what it cannot mean."""
    stack = _stack(parameters)
    ((_, mapping),) = stack.of_type(_MAPPING).items()
    return mapping_settings(mapping) | {"denies_destination": not _may_put_failures(stack, mapping)}


def mapping_settings(mapping: dict[str, Any]) -> dict[str, Any]:
    """The properties of an `AWS::Lambda::EventSourceMapping`, what is absent at its default."""
    unknown = mapping.keys() - _MEANINGS.keys()
    assert not unknown, f"the simulator does not know these properties of the mapping: {sorted(unknown)}"
    fields = dict(_DEFAULTS)
    for name, value in mapping.items():
        fields |= _MEANINGS[name](value)
    # "When you set BatchSize to a value greater than 10, you must set MaximumBatchingWindowInSeconds to at least 1"
    # (API *CreateEventSourceMapping*).
    assert fields["batch_size"] <= 10 or fields["window_ms"], "Lambda refuses a batch above 10 without a window"
    return fields


def function_environment(**parameters: Any) -> dict[str, str]:
    """The environment variables of the function, for a stack with these `parameters`."""
    function = _stack(parameters).properties(_FUNCTION)
    return {name: str(value) for name, value in function["Environment"]["Variables"].items()}


def _stack(parameters: dict[str, Any]) -> Resolved:
    return Resolved(sam_template(), **{"StreamArn": STREAM_ARN, **parameters})


def _may_put_failures(stack: Resolved, mapping: dict[str, Any]) -> bool:
    """Lambda demands both with the function's role: s3:PutObject and s3:ListBucket."""
    assert mapping["FunctionName"] == f"{PSEUDO['AWS::StackName']}-{_FUNCTION}".lower()
    assert stack.properties(_FUNCTION)["Role"].endswith(f"/{PSEUDO['AWS::StackName']}-{_ROLE}".lower())
    bucket = mapping["DestinationConfig"]["OnFailure"]["Destination"]
    asked = (("s3:PutObject", f"{bucket}/aws/lambda/uuid/shard/2027/01/01/name"), ("s3:ListBucket", bucket))
    own = PSEUDO["AWS::AccountId"]
    return all(allowed(stack.role(_ROLE), action, resource, bucket_account=own) for action, resource in asked)


def _exactly(expected: Any) -> Callable[[Any], dict[str, Any]]:
    def meaning(value: Any) -> dict[str, Any]:
        assert value == expected, f"the simulator knows only {expected!r} here, not {value!r}"
        return {}

    return meaning


def _destination(config: Any) -> dict[str, Any]:
    assert config.keys() == {"OnFailure"}, config
    assert config["OnFailure"].keys() == {"Destination"}, config
    arn = config["OnFailure"]["Destination"]
    assert arn.startswith("arn:aws:s3:::"), f"{arn} keeps no payload: the simulator knows S3 destinations only"
    return {"has_destination": True}


def _no_scenario(_value: Any) -> dict[str, Any]:
    """Which stream and function: the simulator has one of each."""
    return {}


# The defaults of *CreateEventSourceMapping* where a template says nothing.
_DEFAULTS = {
    "batch_size": 100,
    "window_ms": 0,
    "lanes": 1,
    "is_bisecting": False,
    "max_retries": -1,
    "max_age_ms": -1,
    "has_destination": False,
    "payload_limit_bytes": _PAYLOAD_LIMIT_BYTES,
}
_MEANINGS: dict[str, Callable[[Any], dict[str, Any]]] = {
    "EventSourceArn": _no_scenario,
    "FunctionName": _no_scenario,
    "StartingPosition": _exactly("TRIM_HORIZON"),
    "BatchSize": lambda count: {"batch_size": int(count)},
    "MaximumBatchingWindowInSeconds": lambda seconds: {"window_ms": int(seconds) * 1000},
    "ParallelizationFactor": lambda count: {"lanes": int(count)},
    "MaximumRetryAttempts": lambda count: {"max_retries": int(count)},
    "MaximumRecordAgeInSeconds": lambda seconds: {"max_age_ms": -1 if int(seconds) == -1 else int(seconds) * 1000},
    "BisectBatchOnFunctionError": lambda is_bisecting: {"is_bisecting": bool(is_bisecting)},
    "DestinationConfig": _destination,
    "MetricsConfig": _exactly({"Metrics": ["EventCount"]}),
}
