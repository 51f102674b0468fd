"""The codec server: shows people in the Temporal UI what Temporal itself cannot read."""

import hmac
import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from google.protobuf.json_format import MessageToDict, ParseDict, ParseError
from temporalio.api.common.v1 import Payloads

from fraisier.orchestrator.errors import CommandError
from fraisier.workflows.payloads import PayloadUnreadable, Sealing

LARGEST = 32 * 1024 * 1024
"""The largest request that is read, in bytes."""

SLOW_S = 30.0
"""How long a client may take to send a request, in seconds."""


@contextmanager
def serving(codec: Sealing, address: str, port: int, *, origins: Sequence[str], token: str = "") -> Iterator[str]:
    """Decode and encode payloads for a browser for as long as the block runs; its own address is given.

    Args:
        codec: with the keys.
        address: where it listens.
        port: there; 0 for any.
        origins: the UIs' origins, such as ``http://localhost:8233``; pages of others are refused.
        token: what a request must bring as ``Authorization: Bearer``; empty for nothing.

    Raises:
        CommandError: the port is taken.
    """

    class Handler(_Handler):
        pass

    Handler.codec, Handler.origins, Handler.token = codec, frozenset(origins), token
    try:
        server = ThreadingHTTPServer((address, port), Handler)
    except OSError as error:
        raise CommandError(f"the codec server cannot listen on {address}:{port}: {error.strerror}") from error
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1})
    thread.start()
    try:
        yield f"http://{address}:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    codec: Sealing
    origins: frozenset[str]
    token: str
    timeout = SLOW_S

    def do_OPTIONS(self) -> None:
        """Tell a browser which pages may ask."""
        self._answer(HTTPStatus.NO_CONTENT if self._may_ask() else HTTPStatus.FORBIDDEN)

    def do_POST(self) -> None:
        """Decode or encode, as the UI asks it."""
        ways = {"/decode": self.codec.plain, "/encode": self.codec.hidden}
        size = int(self.headers.get("Content-Length") or 0)
        if not self._may_ask():
            self._refuse(HTTPStatus.FORBIDDEN, f"pages of {self.headers['Origin']} may not ask; see --origin")
        elif not self._has_token():
            self._refuse(HTTPStatus.UNAUTHORIZED, "the bearer token is missing or another one")
        elif self.path not in ways:
            self._refuse(HTTPStatus.NOT_FOUND, "there is /decode and /encode")
        elif not 0 < size <= LARGEST:
            self._refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"a request has 1 to {LARGEST} bytes, and says how many")
        else:
            try:
                asked = ParseDict(json.loads(self.rfile.read(size)), Payloads())
                told = Payloads(payloads=[ways[self.path](one) for one in asked.payloads])
            except (ValueError, ParseError):
                self._refuse(HTTPStatus.BAD_REQUEST, "not the payloads of Temporal's codec protocol")
            except PayloadUnreadable as error:
                self._refuse(HTTPStatus.UNPROCESSABLE_ENTITY, str(error))
            else:
                self._answer(HTTPStatus.OK, MessageToDict(told))

    def _may_ask(self) -> bool:
        """Whether a page of this origin may; what is no page has none."""
        return self.headers.get("Origin") is None or self.headers["Origin"] in self.origins

    def _has_token(self) -> bool:
        given = self.headers.get("Authorization") or ""
        return not self.token or hmac.compare_digest(given.encode(), f"Bearer {self.token}".encode())

    def _refuse(self, status: HTTPStatus, why: str) -> None:
        self.close_connection = True  # what was sent is not read
        self._answer(status, {"error": why})

    def _answer(self, status: HTTPStatus, body: object = None) -> None:
        content = b"" if body is None else json.dumps(body).encode()
        self.send_response(status)
        if self.headers.get("Origin") in self.origins:
            self.send_header("Access-Control-Allow-Origin", self.headers["Origin"])
            self.send_header("Access-Control-Allow-Methods", "POST")
            self.send_header("Access-Control-Allow-Headers", "Authorization, Content-Type, X-Namespace")
            self.send_header("Access-Control-Allow-Credentials", "true")
        self.send_header("Vary", "Origin")
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (the base class calls it so)
        """Say nothing: what is asked for is private."""
