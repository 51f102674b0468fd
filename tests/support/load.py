"""A constant load that counts what its clients see, and forgives nothing."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

CLIENTS = 4
PATIENCE_S = 60
OK = "200"


@dataclass
class Load:
    """What the clients saw.

    Attributes:
        answers: how often each body came, with status 200.
        failures: everything else, in words.
        connections: how many there were.
    """

    answers: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    connections: int = 0


class _Client:
    """Speaks HTTP itself: a library would look whether its connection is still open, or try again."""

    def __init__(self, url: str, seen: Load, *, kept: bool) -> None:
        parts = urlsplit(url)
        self._host, self._port = parts.hostname or "", parts.port or 80
        close = "" if kept else "Connection: close\r\n"
        self._request = f"GET {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\n{close}\r\n".encode()
        self._seen = seen
        self._open: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self) -> None:
        """One request; a connection is left only when the answer says so, or when it is lost."""
        try:
            status, body, closing = await asyncio.wait_for(self._exchange(), PATIENCE_S)
        except (OSError, EOFError, ValueError, asyncio.TimeoutError) as error:
            self._seen.failures.append(repr(error))
            closing = True
        else:
            if status == OK:
                self._seen.answers[body] += 1
            else:
                self._seen.failures.append(f"HTTP {status}")
        if closing:
            await self.close()

    async def close(self) -> None:
        """Leave the connection."""
        opened, self._open = self._open, None
        if opened is not None:
            opened[1].close()
            await asyncio.gather(opened[1].wait_closed(), return_exceptions=True)

    async def _exchange(self) -> tuple[str, str, bool]:
        if self._open is None:
            self._open = await asyncio.open_connection(self._host, self._port)
            self._seen.connections += 1
        reader, writer = self._open
        writer.write(self._request)
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        first, *lines = head.splitlines()
        headers = dict(line.split(": ", 1) for line in lines if ": " in line)
        body = await reader.readexactly(int(headers["content-length"]))
        return first.split()[1], body.decode().strip(), headers.get("connection") == "close"


@asynccontextmanager
async def load(url: str, *, kept: bool = False) -> AsyncIterator[Load]:
    """Clients that ask one request after the other for as long as the block runs.

    Args:
        url: what they ask for.
        kept: whether they keep their connections. A proxy that closes one at the moment that a request is sent on it
            has lost that request.
    """
    seen, over = Load(), asyncio.Event()

    async def client() -> None:
        asking = _Client(url, seen, kept=kept)
        while not over.is_set():
            await asking.ask()
            await asyncio.sleep(0.01)
        await asking.close()

    clients = [asyncio.create_task(client()) for _ in range(CLIENTS)]
    try:
        yield seen
    finally:
        over.set()
        await asyncio.gather(*clients)
