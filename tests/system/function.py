"""The deployed function in this process: its real entry point, the template's environment, Lambda's context.

Invariant: what happens to one invocation is what can happen to it in Lambda: it answers, it raises, or its container is
gone in the middle of a put (`FunctionKilledError`, which nothing in it can catch) and the next one starts anew.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import boto3
import pytest

from archiver import handler, telemetry
from archiver.store import S3Store
from tests.simulator.faults import KILLED_AFTER, KILLED_BEFORE, FunctionKilledError


class Context:
    """What Lambda hands over beside the event (*Using the Lambda context object*)."""

    function_name = "orders-archiver"
    memory_limit_in_mb = 512
    invoked_function_arn = "arn:aws:lambda:eu-west-1:111122223333:function:orders-archiver"

    def __init__(self, number: int):
        self.aws_request_id = f"00000000-0000-0000-0000-{number:012d}"


class _CurrentStdout:
    """Powertools keeps the stream that was there when it was imported; pytest has another one in every test."""

    def write(self, text: str) -> None:
        sys.stdout.write(text)

    def flush(self) -> None:
        sys.stdout.flush()


class Function:
    """`invoke` runs one invocation; `kill_at_next_put` ends the container at the next put, before or after it."""

    def __init__(self) -> None:
        self.invocations = 0
        self.killed_at: str | None = None
        self.now_ms = 0

    def invoke(self, event: dict[str, Any], *, now_ms: int) -> dict[str, int]:
        self.invocations += 1
        self.now_ms = now_ms
        try:
            return handler.archive(event, Context(self.invocations))
        except FunctionKilledError:
            handler._writer.cache_clear()
            raise

    def kill_at_next_put(self, kind: str) -> None:
        assert kind in (KILLED_BEFORE, KILLED_AFTER)
        self.killed_at = kind


@contextlib.contextmanager
def deployed_function(environment: dict[str, str]) -> Iterator[Function]:
    """The function with exactly these `DDBTRAIL_*` and other variables; no pause between an SDK's attempts is waited for."""
    function = Function()
    put = S3Store.put_if_absent

    def put_or_die(store: S3Store, name: str, content: bytes) -> bool:
        kind, function.killed_at = function.killed_at, None
        if kind == KILLED_BEFORE:
            raise FunctionKilledError(name)
        written = put(store, name, content)
        if kind == KILLED_AFTER:
            raise FunctionKilledError(name)
        return written

    with pytest.MonkeyPatch.context() as patched, contextlib.ExitStack() as clients:
        make_client = boto3.Session.client

        def make_closed_client(session: boto3.Session, *args: Any, **named: Any) -> Any:
            return clients.enter_context(contextlib.closing(make_client(session, *args, **named)))

        for name in [name for name in os.environ if name.startswith("DDBTRAIL_")]:
            patched.delenv(name)
        for name, value in environment.items():
            patched.setenv(name, value)
        patched.setattr(boto3.Session, "client", make_closed_client)
        patched.setattr(S3Store, "put_if_absent", put_or_die)
        patched.setattr(handler, "time", SimpleNamespace(time_ns=lambda: function.now_ms * 1_000_000))
        patched.setattr("botocore.endpoint.time", SimpleNamespace(sleep=lambda _seconds: None))
        patched.setattr(telemetry.logger.registered_handler, "stream", _CurrentStdout())
        handler._writer.cache_clear()
        try:
            yield function
        finally:
            handler._writer.cache_clear()
