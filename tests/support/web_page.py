"""A web page that is a real server's."""

import asyncio
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest


class WebPage:
    """A page that gives what its attributes say at the time, and counts who asked."""

    def __init__(self) -> None:
        self.status, self.body, self.visits = 200, "", 0
        page = self

        class Answer(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                page.visits += 1
                self.send_response(page.status)
                self.end_headers()
                self.wfile.write(page.body.encode())

            def log_message(self, *_: object) -> None:
                """Keep the test's output clean."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}/status"

    async def visited(self, times: int) -> None:
        """Wait until it was asked for so often."""
        for _ in range(600):
            if self.visits >= times:
                return
            await asyncio.sleep(0.1)
        raise AssertionError(f"asked for {self.visits} times")


@pytest.fixture
def web_page(monkeypatch: pytest.MonkeyPatch) -> Iterator[WebPage]:
    """A page on this machine, asked for without a proxy."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    page = WebPage()
    thread = Thread(target=page.server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield page
    finally:
        page.server.shutdown()
        thread.join()
        page.server.server_close()
