"""A folder as an S3 bucket that answers after 30 ms, and says what it was asked: requests by operation, and bytes.

A server of our own, not an emulator behind a proxy: one process, one hop, and nothing that is slow but what is meant to
be. It answers GET (whole, or one range), HEAD and ListObjectsV2 as S3 does, path style, and refuses everything else;
signatures are not looked at. Every answer waits `latency_s` from when the request was read whole, however many wait at
once; bandwidth is what this machine has. What a prefix holds is found by folders, not by walking the whole bucket.

    with serving(folder) as server:
        query.open("s3://bucket", endpoint_url=server.url) …
        server.take()   # Counts since the last time

`python -m benchmarks.latency` measures the server itself: 64 requests at a time, with and without the 30 ms.
"""

import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from bisect import bisect_left
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.utils import formatdate
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, quote, unquote
from xml.sax.saxutils import escape

LATENCY_S: Final = 0.030
BUCKET: Final = "bucket"
_CONTROL: Final = "/-/"  # not a bucket's name, so no request of a client
_PAGE_KEYS: Final = 1000
_HEAD_END: Final = b"\r\n\r\n"
_REASONS: Final = {200: "OK", 206: "Partial Content", 400: "Bad Request", 404: "Not Found", 416: "Invalid Range"}
_MODIFIED: Final = formatdate(1_767_225_600, usegmt=True)


@dataclass
class Counts:
    """What was asked for: requests by operation, bytes of bodies sent, connections made, the most answered at once."""

    requests: dict[str, int] = field(default_factory=dict)
    sent_bytes: int = 0
    connections: int = 0
    most_at_once: int = 0

    @property
    def total(self) -> int:
        return sum(self.requests.values())


@dataclass(frozen=True, slots=True)
class Server:
    """A server that runs."""

    url: str

    def take(self) -> Counts:
        """What was counted since the server began or since this was asked last."""
        return Counts(**json.loads(self._ask("take")))

    def delay(self, latency_s: float) -> None:
        """Every answer waits so long from now on."""
        self._ask(f"delay/{latency_s}")

    def _ask(self, what: str) -> bytes:
        with urllib.request.urlopen(self.url + _CONTROL + what) as answer:
            content: bytes = answer.read()
        return content


@contextmanager
def serving(folder: Path, latency_s: float = LATENCY_S) -> Iterator[Server]:
    """Serves the folder, in a process of its own, as s3://bucket."""
    command = [sys.executable, "-m", "benchmarks.latency", "--serve", str(folder), str(latency_s)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        port = process.stdout.readline().strip()
        if not port:
            raise RuntimeError("the server did not start")
        yield Server(f"http://127.0.0.1:{port}")
    finally:
        process.terminate()
        process.wait()


def environment(server: Server) -> dict[str, str]:
    """What a client's process needs to find the server."""
    return {
        "AWS_ENDPOINT_URL": server.url,
        "AWS_ACCESS_KEY_ID": "none",
        "AWS_SECRET_ACCESS_KEY": "none",
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
    }


# --- the server ---


class _Bucket:
    """The files of a folder by key."""

    def __init__(self, folder: Path) -> None:
        self._folder = str(folder)
        self._listed: dict[str, tuple[int, list[str]]] = {}

    def path(self, key: str) -> str:
        return f"{self._folder}/{key}"

    def page(self, prefix: str, delimiter: str, after: str, limit: int) -> tuple[list[tuple[str, bool]], bool]:
        """The next keys, or what they have in common up to the delimiter (True), in order; and whether more follow."""
        found: list[tuple[str, bool]] = []
        folder = prefix.rpartition("/")[0]
        for entry in self._walk(f"{folder}/" if folder else "", prefix, delimiter, after):
            if len(found) == limit:
                return found, True
            found.append(entry)
        return found, False

    def _walk(self, folder: str, prefix: str, delimiter: str, after: str) -> Iterator[tuple[str, bool]]:
        try:
            names = self._names(folder)
        except (FileNotFoundError, NotADirectoryError):
            return
        # A folder with the last key before it in its name may still hold later ones.
        start = bisect_left(names, after) if after else 0
        while start and after.startswith(names[start - 1]):
            start -= 1
        for name in names[start:]:
            if not name.startswith(prefix) and not prefix.startswith(name):
                continue
            is_folder = name.endswith("/")
            if is_folder and not (delimiter == "/" and name.startswith(prefix) and name != prefix):
                yield from self._walk(name, prefix, delimiter, after)
            elif name > after and name.startswith(prefix) and not (is_folder and after.startswith(name)):
                yield name, is_folder

    def _names(self, folder: str) -> list[str]:
        """What is directly in a folder, in order of key; read again when the folder has changed."""
        changed_ns = os.stat(self.path(folder)).st_mtime_ns
        known = self._listed.get(folder)
        if known is None or known[0] != changed_ns:
            with os.scandir(self.path(folder)) as entries:
                names = sorted(folder + entry.name + ("/" if entry.is_dir() else "") for entry in entries)
            known = self._listed[folder] = (changed_ns, names)
        return known[1]


class _Connection(asyncio.Protocol):
    """One connection of a client: requests one after the other."""

    def __init__(self, served: "_Served") -> None:
        self._served = served
        self._received = b""
        self._is_waiting = False
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._served.counts.connections += 1

    def data_received(self, data: bytes) -> None:
        self._received += data
        self._next()

    def _next(self) -> None:
        if self._is_waiting or _HEAD_END not in self._received:
            return
        head, _, self._received = self._received.partition(_HEAD_END)
        lines = head.decode("latin-1").split("\r\n")
        method, target, _ = lines[0].split(" ", 2)
        headers = dict(_header(line) for line in lines[1:])
        if target.startswith(_CONTROL):
            self._transport.write(_answer(200, self._served.control(target.removeprefix(_CONTROL))))
            self._next()
            return
        self._is_waiting = True
        self._served.begin()
        loop, due = asyncio.get_running_loop(), asyncio.get_running_loop().time() + self._served.latency_s
        loop.call_at(due, self._send, method, target, headers)

    def _send(self, method: str, target: str, headers: dict[str, str]) -> None:
        answer = self._served.answer(method, target, headers)
        self._is_waiting = False
        if self._transport.is_closing():
            return
        self._transport.write(answer)
        self._next()


class _Served:
    """What all connections share."""

    def __init__(self, folder: Path, latency_s: float) -> None:
        self._bucket = _Bucket(folder)
        self.latency_s = latency_s
        self.counts = Counts()
        self._at_once = 0

    def control(self, what: str) -> bytes:
        if what.startswith("delay/"):
            self.latency_s = float(what.removeprefix("delay/"))
            return b"{}"
        taken, self.counts = self.counts, Counts()
        return json.dumps(vars(taken)).encode()

    def begin(self) -> None:
        self._at_once += 1
        self.counts.most_at_once = max(self.counts.most_at_once, self._at_once)

    def answer(self, method: str, target: str, headers: dict[str, str]) -> bytes:
        self._at_once -= 1
        path, _, query = target.partition("?")
        key = unquote(path).removeprefix(f"/{BUCKET}").removeprefix("/")
        asked = {name: values[0] for name, values in parse_qs(query, keep_blank_values=True).items()}
        if method == "GET" and asked.get("list-type") == "2":
            operation, body = "ListObjectsV2", self._list(asked)
            answer = _answer(200, body, "application/xml")
        elif method in ("GET", "HEAD") and key:
            is_range = method == "GET" and "range" in headers
            operation = "HeadObject" if method == "HEAD" else "GetObject, a range" if is_range else "GetObject"
            answer, body = self._object(method, key, headers.get("range"))
        else:
            operation, body = f"{method}, refused", b""
            answer = _error(400, "NotImplemented", key)
        requests = self.counts.requests
        requests[operation] = requests.get(operation, 0) + 1
        self.counts.sent_bytes += len(body)
        return answer

    def _object(self, method: str, key: str, asked_range: str | None) -> tuple[bytes, bytes]:
        try:
            with open(self._bucket.path(key), "rb") as file:
                size = os.fstat(file.fileno()).st_size
                start, end = _range(asked_range, size) if asked_range and method == "GET" else (0, size)
                if start >= end and asked_range:
                    return _error(416, "InvalidRange", key), b""
                file.seek(start)
                body = file.read(end - start) if method == "GET" else b""
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
            return _error(404, "NoSuchKey", key, is_head=method == "HEAD"), b""
        more = f'ETag: "{size:032x}"\r\nLast-Modified: {_MODIFIED}\r\nAccept-Ranges: bytes\r\n'
        if asked_range and method == "GET":
            more += f"Content-Range: bytes {start}-{end - 1}/{size}\r\n"
            return _answer(206, body, "binary/octet-stream", more), body
        return _answer(200, body, "binary/octet-stream", more, length=size), body

    def _list(self, asked: dict[str, str]) -> bytes:
        after = max(asked.get("start-after", ""), asked.get("continuation-token", ""))
        limit = min(int(asked.get("max-keys", _PAGE_KEYS)), _PAGE_KEYS)
        prefix, delimiter = asked.get("prefix", ""), asked.get("delimiter", "")
        found, has_more = self._bucket.page(prefix, delimiter, after, limit)
        shown = quote if asked.get("encoding-type") == "url" else escape
        lines = []
        for name, is_common in found:
            if is_common:
                lines.append(f"<CommonPrefixes><Prefix>{shown(name)}</Prefix></CommonPrefixes>")
                continue
            size = os.stat(self._bucket.path(name)).st_size
            lines.append(
                f"<Contents><Key>{shown(name)}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified>"
                f'<ETag>"{size:032x}"</ETag><Size>{size}</Size><StorageClass>STANDARD</StorageClass></Contents>'
            )
        if has_more:
            lines.append(f"<NextContinuationToken>{escape(found[-1][0])}</NextContinuationToken>")
        return (
            '<?xml version="1.0" encoding="UTF-8"?>'
            '<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
            f"<Name>{BUCKET}</Name><Prefix>{shown(prefix)}</Prefix><KeyCount>{len(found)}</KeyCount>"
            f"<MaxKeys>{limit}</MaxKeys><IsTruncated>{'true' if has_more else 'false'}</IsTruncated>"
            + (f"<Delimiter>{shown(delimiter)}</Delimiter>" if delimiter else "")
            + ("<EncodingType>url</EncodingType>" if shown is quote else "")
            + "".join(lines)
            + "</ListBucketResult>"
        ).encode()


def _header(line: str) -> tuple[str, str]:
    name, _, value = line.partition(":")
    return name.strip().lower(), value.strip()


def _range(asked: str, size: int) -> tuple[int, int]:
    """Where a range begins and ends (beyond its last byte)."""
    first, _, last = asked.removeprefix("bytes=").partition("-")
    if not first:
        return max(0, size - int(last)), size
    return int(first), min(int(last) + 1, size) if last else size


def _answer(
    status: int, body: bytes, kind: str = "application/json", more: str = "", length: int | None = None
) -> bytes:
    length = len(body) if length is None else length
    head = f"HTTP/1.1 {status} {_REASONS[status]}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n{more}\r\n"
    return head.encode() + body


def _error(status: int, code: str, key: str, *, is_head: bool = False) -> bytes:
    body = f"<Error><Code>{code}</Code><Message>{code}</Message><Key>{escape(key)}</Key></Error>".encode()
    return _answer(status, b"" if is_head else body, "application/xml")


async def _serve(folder: Path, latency_s: float) -> None:
    served = _Served(folder, latency_s)
    server = await asyncio.get_running_loop().create_server(lambda: _Connection(served), "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


# --- the server itself, measured ---

_REQUESTS_AT_ONCE: Final = 64
_ROUNDS: Final = 40


def run() -> dict[str, Any]:
    """64 requests at a time: of 64 KiB, and of 256 KiB. Without latency: what the server can do."""
    figures: dict[str, Any] = {"load": os.getloadavg()[0]}
    with tempfile.TemporaryDirectory() as temporary:
        Path(temporary, "large").write_bytes(os.urandom(32 << 20))
        with serving(Path(temporary), 0) as server:
            for latency_s in (0, LATENCY_S):
                server.delay(latency_s)
                for length in (65_536, 262_144):
                    figures[f"{latency_s * 1000:.0f} ms, ranges of {length >> 10} KiB"] = _measured(server, length)
    return figures


def _measured(server: Server, length: int) -> dict[str, float]:
    """Rounds of 64 ranges, all asked for at once; the next round begins when the last of them is there."""
    import obstore  # noqa: PLC0415
    from obstore.store import S3Store  # noqa: PLC0415

    store = S3Store(
        BUCKET,
        endpoint=server.url,
        access_key_id="none",
        secret_access_key="none",
        region="us-east-1",
        virtual_hosted_style_request=False,
        client_options={"allow_http": True},
    )
    taken = []
    with ThreadPoolExecutor(_REQUESTS_AT_ONCE) as requests:

        def one(number: int) -> float:
            began = time.perf_counter()
            content = obstore.get_range(store, "large", start=number * 65_536, length=length)
            assert len(content) == length
            return time.perf_counter() - began

        list(requests.map(one, range(_REQUESTS_AT_ONCE)))  # connections
        server.take()
        answers: list[float] = []
        for _ in range(_ROUNDS):
            began = time.perf_counter()
            answers += requests.map(one, range(_REQUESTS_AT_ONCE))
            taken.append(time.perf_counter() - began)
    counts = server.take()
    assert counts.total == _ROUNDS * _REQUESTS_AT_ONCE
    return {
        "round_ms": statistics.median(taken) * 1000,
        "answer_ms": statistics.median(answers) * 1000,
        "answer_p95_ms": statistics.quantiles(answers, n=20)[-1] * 1000,
        "requests_per_s": counts.total / sum(taken),
        "mb_per_s": counts.sent_bytes / sum(taken) / 1e6,
        "most_at_once": counts.most_at_once,
    }


def report(figures: dict[str, Any]) -> str:
    lines = [f"the server with latency; load before: {figures['load']:.1f}"]
    for name, found in figures.items():
        if isinstance(found, dict):
            lines.append(
                f"{name:28} {_REQUESTS_AT_ONCE} at once in {found['round_ms']:6.1f} ms;"
                f" one {found['answer_ms']:6.1f} ms, 95 % below {found['answer_p95_ms']:6.1f} ms;"
                f" {found['requests_per_s']:7.0f} requests/s, {found['mb_per_s']:6.0f} MB/s"
            )
    return "\n".join(lines)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--serve"]:
        asyncio.run(_serve(Path(sys.argv[2]), float(sys.argv[3])))
    else:
        print(report(run()))
