"""Programs that tests and the demo start: each in a process group of its own, ended whatever happens.

This module alone starts other programs. Invariants: no process of a program is left when its `with` is left, nor when
the interpreter ends without leaving it, or is killed; a program sees no setting of the caller that would change it; one
that is absent is `PartAbsent`, one that does not come up is `PartFailed` with the end of its log.
"""

import atexit
import contextlib
import http.client
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

LOOPBACK = "127.0.0.1"

# Below Linux's range for outgoing connections (32768 up), so that a port seen free is not taken by a client.
PORTS = range(20_000, 32_000)
PORT_ATTEMPTS = 100
START_S = 30.0
STOP_S = 5.0
LOG_TAIL_LINES = 15

# The kernel kills the part when its starter dies, however that happens (Linux; elsewhere atexit has to do).
DIE_WITH_PARENT = """\
import ctypes, os, signal, sys
if sys.platform == "linux":
    PR_SET_PDEATHSIG = 1
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != int(sys.argv[1]):
        sys.exit("the starter is gone")
os.execvp(sys.argv[2], sys.argv[2:])
"""


class PartAbsent(Exception):
    """The part is not installed here; the message says how to install it. Tests skip with it."""


class PartFailed(Exception):
    """The part is installed but did not come up; the message ends with the last lines of its log."""


class Process:
    """One started program with its process group and its log."""

    def __init__(self, command: Sequence[str], log: Path, environ: Mapping[str, str], cwd: Path | None) -> None:
        self.name, self.log = Path(command[0]).name, log
        wrapped = [sys.executable, "-c", DIE_WITH_PARENT, str(os.getpid()), *command]
        with log.open("ab") as output:
            self._popen = subprocess.Popen(
                wrapped,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**_clean_environ(), **environ},
                cwd=cwd or log.parent,
                start_new_session=True,  # a group of its own: `stop` takes its children too, Ctrl-C does not
            )

    @property
    def pid(self) -> int:
        return self._popen.pid

    def wait_until(self, is_up: Callable[[], bool], *, within_s: float = START_S) -> None:
        """Returns once `is_up()`; raises PartFailed when the program ends first or `within_s` seconds pass."""
        deadline = time.monotonic() + within_s
        while not is_up():
            if (code := self._popen.poll()) is not None:
                raise PartFailed(f"{self.name} ended with code {code} while starting\n{_tail(self.log)}")
            if time.monotonic() > deadline:
                raise PartFailed(f"{self.name} did not answer within {within_s:.0f} s\n{_tail(self.log)}")
            time.sleep(0.05)

    def stop(self) -> None:
        """Ends the whole process group: politely, then by force. Stopping twice does nothing more."""
        for sign in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._popen.pid, sign)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._popen.wait(STOP_S)


@contextlib.contextmanager
def running_program(
    command: Sequence[str], *, log: Path, environ: Mapping[str, str] | None = None, cwd: Path | None = None
) -> Iterator[Process]:
    process = Process(command, log, environ or {}, cwd)
    atexit.register(process.stop)
    try:
        yield process
    finally:
        process.stop()
        atexit.unregister(process.stop)


@contextlib.contextmanager
def scratch_folder(part: str) -> Iterator[Path]:
    """A temporary folder with a short path; removal forgives files that a dying process still writes."""
    with tempfile.TemporaryDirectory(prefix=f"ddbtrail-{part}-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def finish(command: Sequence[str], *, log: Path, environ: Mapping[str, str]) -> None:
    """Runs a setup command to its end; raises PartFailed with its output when it fails or hangs."""
    with running_program(command, log=log, environ=environ) as process:
        try:
            code = process._popen.wait(START_S)
        except subprocess.TimeoutExpired:
            code = f"none within {START_S:.0f} s"
    if code != 0:
        raise PartFailed(f"{' '.join(command)} ended with code {code}\n{_tail(log)}")


def find_program(name: str, *, install: str) -> str:
    found = shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/bin", "/usr/sbin"]))
    if found is None:
        raise PartAbsent(f"{name} is not installed; install it with: {install}")
    return found


def _clean_environ() -> dict[str, str]:
    """The caller's environment without what would change a part: AWS settings, Python and Ceph variables."""
    foreign = ("AWS_", "CEPH_", "PYTHON", "COV_", "DDBTRAIL_")
    return {name: value for name, value in os.environ.items() if not name.startswith(foreign)}


def answers(port: int, path: str) -> bool:
    """Whether an HTTP server answers GET `path` on loopback with anything but a server error."""
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=2)
    try:
        connection.request("GET", path)
        return connection.getresponse().status < 500
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _tail(log: Path) -> str:
    lines = log.read_text(errors="replace").splitlines()[-LOG_TAIL_LINES:]
    return "\n".join(f"  | {line}" for line in lines) or "  | (its log is empty)"


def free_port() -> int:
    """A loopback TCP port that nothing listens on now."""
    for _ in range(PORT_ATTEMPTS):
        port = random.SystemRandom().choice(PORTS)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind((LOOPBACK, port))
            return port
    raise PartFailed(f"no free port found in {PORTS.start}-{PORTS.stop} after {PORT_ATTEMPTS} attempts")
