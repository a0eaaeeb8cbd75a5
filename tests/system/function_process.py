"""The deployed function in a process of its own, so that its memory is its own and its death is one.

`python -m tests.system.function_process REPLY_DESCRIPTOR` is the container: it takes invocations on standard input (a
line of JSON: size of the event in bytes, time, what goes wrong at the next put; then the event), calls the real entry
point, and answers each with a line of JSON on the descriptor. It archives into a folder. A fault at a put is one of the
simulator's: refused, its answer lost, or the process gone before or after it.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from tests.simulator.faults import ANSWER_LOST, KILLED_AFTER, KILLED_BEFORE, REFUSED
from tests.system.parts import REPOSITORY

KILLED = 137
FAULTS = (REFUSED, ANSWER_LOST, KILLED_BEFORE, KILLED_AFTER)
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class Container:
    """One container at a time; `invoke` starts a new one where the last has died."""

    def __init__(self, environment: Mapping[str, str], log: Path):
        self.generation = 0
        self.resident_bytes: list[tuple[int, int]] = []  # generation, after an invocation
        self._environment = {**_without_settings(), **environment}
        self._log = log
        self._process: subprocess.Popen | None = None
        self._replies: Any = None

    def invoke(self, event: bytes, *, now_ms: int, fault: str | None) -> dict[str, Any]:
        """What the function answered (`answer`), the error it raised (`error`), or that it died (`died`)."""
        if self._process is None:
            self._start()
        head = json.dumps({"size_bytes": len(event), "now_ms": now_ms, "fault": fault}).encode()
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(head + b"\n")
            self._process.stdin.write(event)
            self._process.stdin.flush()
        line = self._replies.readline()
        if not line:
            code = self.stop()
            assert code == KILLED, f"the function ended with {code}; see {self._log}"
            return {"died": True}
        reply = json.loads(line)
        self.resident_bytes.append((self.generation, self._resident_bytes()))
        return reply

    def stop(self) -> int:
        """Ends the container that runs, and gives its exit code."""
        if self._process is None:
            return 0
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        code = self._process.wait()
        self._replies.close()
        self._process = None
        return code

    def _start(self) -> None:
        self.generation += 1
        reading, writing = os.pipe()
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.system.function_process", str(writing)],
                cwd=REPOSITORY,
                env=self._environment,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                pass_fds=[writing],
            )
        os.close(writing)
        self._replies = os.fdopen(reading, "rb")

    def _resident_bytes(self) -> int:
        return int(Path(f"/proc/{self._process.pid}/statm").read_text().split()[1]) * PAGE_BYTES


@contextlib.contextmanager
def container(environment: Mapping[str, str], log: Path) -> Iterator[Container]:
    running = Container(environment, log)
    try:
        yield running
    finally:
        running.stop()


def _without_settings() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith(("DDBTRAIL_", "POWERTOOLS_"))}


# --- in the container ---


def serve(replies: Any) -> None:
    from archiver import handler
    from archiver.store import FolderStore
    from tests.system.function import Context

    state = SimpleNamespace(now_ms=0, fault=None)
    handler.time = SimpleNamespace(time_ns=lambda: state.now_ms * 1_000_000)
    FolderStore.put_if_absent = _failing(FolderStore.put_if_absent, state)
    number = 0
    while line := sys.stdin.buffer.readline():
        head = json.loads(line)
        event = json.loads(sys.stdin.buffer.read(head["size_bytes"]))
        state.now_ms, state.fault, number = head["now_ms"], head["fault"], number + 1
        try:
            reply = {"answer": handler.archive(event, Context(number))}
        except Exception as error:  # the runtime's own net: whatever is raised is an answer to Lambda
            reply = {"error": f"{type(error).__name__}: {error}"}
        del event
        replies.write(json.dumps({**reply, "faulted": state.fault != head["fault"]}).encode() + b"\n")
        replies.flush()


def _failing(put: Any, state: SimpleNamespace) -> Any:
    from archiver.errors import StoreUnavailable

    def put_if_absent(store: Any, name: str, content: bytes) -> bool:
        kind, state.fault = state.fault, None
        if kind == KILLED_BEFORE:
            os._exit(KILLED)
        if kind == REFUSED:
            raise StoreUnavailable(f"{name}: refused", hint="")
        written = put(store, name, content)
        if kind == KILLED_AFTER:
            os._exit(KILLED)
        if kind == ANSWER_LOST:
            raise StoreUnavailable(f"{name}: answer lost", hint="")
        return written

    return put_if_absent


if __name__ == "__main__":
    with os.fdopen(int(sys.argv[1]), "wb") as descriptor:
        serve(descriptor)
