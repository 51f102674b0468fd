"""A webhook that is a real server."""

from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

from typing_extensions import Self


class Webhook:
    """A webhook that answers with the given statuses, the last one for ever, and keeps what it was sent."""

    def __init__(self) -> None:
        self.statuses = [200]
        self.received: list[tuple[Any, bytes]] = []
        webhook = self

        class Receiver(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                webhook.received.append((self.headers, body))
                statuses = webhook.statuses
                self.send_response(statuses.pop(0) if len(statuses) > 1 else statuses[0])
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Keep the test's output clean."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}/T0/hidden-token"

    @contextmanager
    def running(self) -> Iterator[Self]:
        """Answer for as long as the block runs."""
        Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        try:
            yield self
        finally:
            self.server.shutdown()
            self.server.server_close()
