"""An HTTP proxy that loses requests and answers: the fault that no emulator offers.

It forwards everything to one upstream, byte for byte as far as the request's signature sees, and counts it. A
*lost request* is read in full and never forwarded. A *lost answer* is forwarded, answered by the upstream with
success, and then thrown away: the write stands, and the client cannot know. In both the client sees its connection
closed. A *refused request* is answered with an error of S3's and not forwarded. The proxy never retries and never
invents another answer, except 502 when the upstream does not answer.
"""

import contextlib
import http.client
import http.server
import select
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self
from urllib.parse import urlsplit

LOOPBACK = "127.0.0.1"
UPSTREAM_TIMEOUT_S = 60.0
# Of *Error responses* (Amazon S3 API Reference): the status of each code.
STATUS_OF_CODE = {"SlowDown": 503, "InternalError": 500, "AccessDenied": 403}
CHUNK_LINE_BYTES_MAX = 1_024
BUFFER_BYTES = 65_536

# RFC 9110 §7.6.1: these concern one connection. `Expect` is answered here; botocore signs none of them.
HOP_BY_HOP = frozenset({"connection", "keep-alive", "proxy-connection", "te", "trailer", "upgrade", "expect"})
BODY_FRAMING = frozenset({"transfer-encoding", "content-length"})


@dataclass
class _Rule:
    method: str
    contains: str
    times: int
    code: str = ""


class DropProxy:
    """Forwards HTTP on a loopback port of its own to `upstream` (`http://host:port`); use it in a `with`.

    `url` is what the client is given. `add_latency_ms` (float, may be set at any time) delays every request.
    `requests`, `request_bytes`, `response_bytes` count bodies per HTTP method, as seen by the client's side;
    `dropped` counts the faults that really happened. `reset_counters()` sets them to nothing.
    """

    def __init__(self, upstream: str, *, add_latency_ms: float = 0.0) -> None:
        self.upstream = urlsplit(upstream).netloc
        self.add_latency_ms = add_latency_ms
        self._lock = threading.Lock()
        self._lost_requests: list[_Rule] = []
        self._lost_answers: list[_Rule] = []
        self._refused: list[_Rule] = []
        self.reset_counters()
        self._server = _Server((LOOPBACK, 0), self)
        self.url = f"http://{LOOPBACK}:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def drop_before(self, method: str, contains: str, times: int = 1) -> None:
        """Loses the next `times` requests of `method` that mention `contains`, before the upstream sees them.

        `contains` is looked for in the path with its query, and in `X-Amz-Target` (DynamoDB's operation).
        """
        self._lost_requests.append(_Rule(method, contains, times))

    def drop_after_commit(self, method: str, contains: str, times: int = 1) -> None:
        """Loses the answers to the next `times` such requests that the upstream carried out (status below 300)."""
        self._lost_answers.append(_Rule(method, contains, times))

    def refuse(self, method: str, contains: str, code: str, times: int = 1) -> None:
        """Answers the next `times` such requests with the S3 error `code`; the upstream never sees them."""
        self._refused.append(_Rule(method, contains, times, code))

    def heal(self) -> None:
        """Forgets every fault that is still to come."""
        with self._lock:
            for rules in (self._lost_requests, self._lost_answers, self._refused):
                rules.clear()

    def reset_counters(self) -> None:
        self.requests, self.request_bytes, self.response_bytes = Counter(), Counter(), Counter()
        self.dropped = 0

    def _loses(self, rules: list[_Rule], method: str, described: str) -> _Rule | None:
        with self._lock:
            for rule in rules:
                if rule.times and rule.method == method and rule.contains in described:
                    rule.times -= 1
                    self.dropped += 1
                    return rule
        return None

    def _count(self, counter: Counter, method: str, amount: int = 1) -> None:
        with self._lock:
            counter[method] += amount


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = False  # server_close() waits for every connection: nothing outlives the proxy
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], proxy: DropProxy) -> None:
        super().__init__(address, _Handler)
        self.proxy = proxy
        self._connections: set[socket.socket] = set()

    def process_request(self, request, client_address) -> None:
        self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request) -> None:
        self._connections.discard(request)
        super().shutdown_request(request)

    def server_close(self) -> None:
        for connection in list(self._connections):  # clients keep idle connections open: end them
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        super().server_close()

    def handle_error(self, request, client_address) -> None:
        """A client that goes away is its own business; here it often is the point of the test."""


class _Handler(http.server.BaseHTTPRequestHandler):
    """One client connection, and one kept upstream connection for it."""

    server: _Server
    protocol_version = "HTTP/1.1"
    wbufsize = BUFFER_BYTES  # head and body leave in one write: no wait for a delayed acknowledgement

    def setup(self) -> None:
        super().setup()
        self._upstream: http.client.HTTPConnection | None = None

    def finish(self) -> None:
        if self._upstream is not None:
            self._upstream.close()
        super().finish()

    def handle_expect_100(self) -> bool:
        proceed = super().handle_expect_100()
        self.wfile.flush()
        return proceed

    def forward(self) -> None:
        proxy = self.server.proxy
        body = self._body()
        proxy._count(proxy.requests, self.command)
        proxy._count(proxy.request_bytes, self.command, len(body or b""))
        time.sleep(proxy.add_latency_ms / 1_000)
        described = f"{self.path} {self.headers.get('X-Amz-Target', '')}"
        if proxy._loses(proxy._lost_requests, self.command, described):
            return self._hang_up()
        if refusal := proxy._loses(proxy._refused, self.command, described):
            return self._refuse(refusal.code)
        try:
            answer = self._ask_upstream(body)
            content = answer.read()
        except (OSError, http.client.HTTPException) as error:
            self._upstream = None
            return self.send_error(502, f"upstream {proxy.upstream}: {error!r}")
        # The upstream has carried it out. From here on, hanging up leaves a write that the client knows nothing of.
        if answer.status < 300 and proxy._loses(proxy._lost_answers, self.command, described):
            return self._hang_up()
        proxy._count(proxy.response_bytes, self.command, len(content))
        return self._reply(answer, content)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = do_OPTIONS = do_PATCH = forward

    def _ask_upstream(self, body: bytes | None) -> http.client.HTTPResponse:
        connection = self._upstream_connection()
        connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
        for name, value in self.headers.items():  # Host too: the signature covers it
            if name.lower() not in HOP_BY_HOP | BODY_FRAMING:
                connection.putheader(name, value)
        if "chunked" in self.headers.get("Transfer-Encoding", "").lower():
            connection.putheader("Transfer-Encoding", "chunked")
            connection.endheaders([body] if body else [], encode_chunked=True)
        else:
            if body is not None:
                connection.putheader("Content-Length", str(len(body)))
            connection.endheaders(body)
        return connection.getresponse()

    def _upstream_connection(self) -> http.client.HTTPConnection:
        """The kept connection, made anew if the upstream has closed it (then it is readable: end of file)."""
        kept = self._upstream
        if kept is not None and kept.sock is not None and select.select([kept.sock], [], [], 0)[0]:
            kept.close()
        if kept is None or kept.sock is None:
            host = self.server.proxy.upstream
            kept = self._upstream = http.client.HTTPConnection(host, timeout=UPSTREAM_TIMEOUT_S)
        return kept

    def _body(self) -> bytes | None:
        if "chunked" in self.headers.get("Transfer-Encoding", "").lower():
            return b"".join(self._chunks())
        if (length := self.headers.get("Content-Length")) is not None:
            return self._exactly(int(length))
        return None

    def _chunks(self) -> Iterator[bytes]:
        """The payload of a chunked body (RFC 9112 §7.1); chunk extensions and trailers are read and let go."""
        while size := int(self.rfile.readline(CHUNK_LINE_BYTES_MAX).split(b";")[0], 16):
            yield self._exactly(size)
            self.rfile.readline(CHUNK_LINE_BYTES_MAX)
        while self.rfile.readline(CHUNK_LINE_BYTES_MAX).strip():
            pass

    def _exactly(self, size: int) -> bytes:
        content = self.rfile.read(size)
        if len(content) < size:
            raise ConnectionError(f"the client ended its body after {len(content)} of {size} bytes")
        return content

    def _reply(self, answer: http.client.HTTPResponse, content: bytes) -> None:
        self.send_response_only(answer.status, answer.reason)
        has_length = self.command == "HEAD" or answer.status in (204, 304)
        for name, value in answer.getheaders():
            framing = name.lower() in BODY_FRAMING
            if name.lower() not in HOP_BY_HOP and (not framing or has_length):
                self.send_header(name, value)
        if not has_length:
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _refuse(self, code: str) -> None:
        content = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>{code}</Message></Error>".encode()
        self.send_response_only(STATUS_OF_CODE[code])
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _hang_up(self) -> None:
        self.close_connection = True
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)

    def log_message(self, *_: object) -> None:
        """Silence: the counters say what happened."""
