"""Stands between a provider and its engine, and lets something happen in the middle of one request."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

PART = 64 * 1024


@dataclass
class Relay:
    """A socket in front of an engine's.

    Attributes:
        socket: where the provider asks.
        engine: the engine's own.
        trigger: what stands in the first line of the request that it waits for; it happens once.
        when: ``before`` the engine hears of it, or ``after`` it has begun to answer, which nobody hears of.
        happens: what happens then.
    """

    socket: Path
    engine: Path
    trigger: bytes = b""
    when: Literal["before", "after"] = "before"
    happens: Callable[[], object] = print
    happened: asyncio.Event = field(default_factory=asyncio.Event)
    connections: set["asyncio.Task[None]"] = field(default_factory=set)

    @property
    def url(self) -> str:
        return f"unix://{self.socket}"

    def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve a connection for as long as the relay is there."""
        self.connections.add(asyncio.create_task(self.serve(reader, writer)))

    async def close(self) -> None:
        """Leave all connections."""
        for one in self.connections:
            one.cancel()
        await asyncio.gather(*self.connections, return_exceptions=True)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection; what breaks on one side is closed on both."""
        try:
            from_engine, to_engine = await asyncio.open_unix_connection(str(self.engine))
        except OSError:
            writer.close()
            return
        armed = asyncio.Event()
        ways = [
            asyncio.create_task(self._ask(reader, to_engine, armed)),
            asyncio.create_task(self._answer(from_engine, writer, armed)),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            for one in (writer, to_engine):
                one.close()
                with suppress(OSError):
                    await one.wait_closed()

    async def _ask(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, armed: asyncio.Event) -> None:
        while part := await reader.read(PART):
            if self.trigger and self.trigger in part.partition(b"\r\n")[0] and not self.happened.is_set():
                self.happened.set()
                if self.when == "before":
                    self.happens()
                else:
                    armed.set()
            writer.write(part)
            await writer.drain()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, armed: asyncio.Event) -> None:
        lost = False
        while part := await reader.read(PART):
            if armed.is_set() and not lost:
                lost = True
                self.happens()
            if not lost:
                writer.write(part)
                await writer.drain()


@asynccontextmanager
async def relay(socket: Path, engine: Path) -> AsyncIterator[Relay]:
    """A relay for the block; nothing happens until it is told what."""
    one = Relay(socket, engine)
    server = await asyncio.start_unix_server(one.accept, str(socket))
    try:
        yield one
    finally:
        server.close()
        await one.close()
        await server.wait_closed()
