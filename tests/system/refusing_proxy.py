"""An HTTP proxy that refuses what it is told to, as AWS refuses it: with AccessDenied, in the protocol of the service.

Everything else is forwarded to one upstream and comes back as it is. Emulators know few permissions; this is how a
command is seen without one.
"""

import contextlib
import http.client
import http.server
import re
import threading
from typing import Self
from urllib.parse import urlsplit

LOOPBACK = "127.0.0.1"
UPSTREAM_TIMEOUT_S = 30.0
_JSON = b'{"__type":"AccessDeniedException","message":"refused by the test"}'
_XML = b"<?xml version='1.0'?><Error><Code>AccessDenied</Code><Message>refused by the test</Message></Error>"
_QUERY_XML = b"<ErrorResponse><Error><Type>Sender</Type><Code>AccessDenied</Code></Error></ErrorResponse>"
_CBOR = b"\xa1\x66__type\x6cAccessDenied"  # RFC 8949: a map of one pair of texts
_NOT_FORWARDED = {"connection", "keep-alive", "transfer-encoding", "content-length", "expect"}


class RefusingProxy:
    """Forwards to `upstream` on a loopback port of its own; use it in a `with`.

    A request is described by one line: method, path with query, `X-Amz-Target`, and the `Action` of a query body. One
    that the pattern `refuses` matches is refused; `refused` counts them.
    """

    def __init__(self, upstream: str) -> None:
        self.upstream = urlsplit(upstream).netloc
        self.refuses: str | None = None
        self.refused = 0
        proxy = self

        class Handler(_Handler):
            owner = proxy

        self._server = http.server.ThreadingHTTPServer((LOOPBACK, 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://{LOOPBACK}:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @contextlib.contextmanager
    def refusing(self, pattern: str):
        """Refuses what a pattern matches while the body runs, and sees to it that there was something to refuse."""
        self.refuses, self.refused = pattern, 0
        try:
            yield
        finally:
            self.refuses = None
        assert self.refused, f"nothing that was asked matches {pattern}"


class _Handler(http.server.BaseHTTPRequestHandler):
    owner: RefusingProxy

    def forward(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self._is_refused(body):
            self.owner.refused += 1
            return self._refuse()
        with contextlib.closing(
            http.client.HTTPConnection(self.owner.upstream, timeout=UPSTREAM_TIMEOUT_S)
        ) as upstream:
            headers = {name: value for name, value in self.headers.items() if name.lower() not in _NOT_FORWARDED}
            upstream.request(self.command, self.path, body, headers)
            answer = upstream.getresponse()
            content = answer.read()
            self._answer(answer.status, content, dict(answer.getheaders()))
        return None

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = forward

    def _is_refused(self, body: bytes) -> bool:
        action = re.search(rb"(?:^|&)Action=(\w+)", body)
        asked = action[1].decode() if action else ""
        described = f"{self.command} {self.path} {self.headers.get('X-Amz-Target', '')} {asked}"
        return self.owner.refuses is not None and re.search(self.owner.refuses, described) is not None

    def _refuse(self) -> None:
        if "X-Amz-Target" in self.headers:
            self._answer(400, _JSON, {"Content-Type": "application/x-amz-json-1.0"})
        elif self.headers.get("Smithy-Protocol") == "rpc-v2-cbor":
            self._answer(403, _CBOR, {"Content-Type": "application/cbor", "Smithy-Protocol": "rpc-v2-cbor"})
        elif re.match(r"/20\d\d-", self.path):
            self._answer(403, _JSON, {"Content-Type": "application/json", "X-Amzn-ErrorType": "AccessDeniedException"})
        elif self.command == "POST":
            self._answer(403, _QUERY_XML, {"Content-Type": "text/xml"})
        else:
            self._answer(403, _XML, {"Content-Type": "application/xml"})

    def _answer(self, status: int, content: bytes, headers: dict[str, str]) -> None:
        self.send_response_only(status)
        for name, value in headers.items():
            if name.lower() not in _NOT_FORWARDED:
                self.send_header(name, value)
        if self.command != "HEAD":
            self.send_header("Content-Length", str(len(content)))
        elif "Content-Length" in headers:
            self.send_header("Content-Length", headers["Content-Length"])
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Silence: the counter says what happened."""
