"""The connection: `NatsClient` over nats-py, with what a deployment needs of it."""

import asyncio
import logging
import socket
from types import TracebackType
from typing import Any

import nats
import nats.errors
from nats.aio.client import Client
from nats.js import JetStreamContext
from typing_extensions import Self

from fraisier.nats.bus import NatsEventBus
from fraisier.nats.errors import NatsConnectionError

__all__ = ["NatsClient", "NatsEventBus"]

logger = logging.getLogger(__name__)

PING_INTERVAL_S = 2
PINGS_OUTSTANDING = 2
USER_TIMEOUT_MS = 5000
"""How long sent bytes may stay unacknowledged before the kernel drops the connection: a silent network is noticed."""


class NatsClient:
    """A connection to NATS.

    Args:
        servers: URLs.
        username: with `password`, where the server asks for them.
        password: never logged.
        timeout: seconds for connecting and for one request.
        max_reconnect_attempts: for each server; -1 for ever. After the last one the connection is closed for good.
        reconnect_time_wait: seconds between two attempts.
    """

    def __init__(
        self,
        servers: list[str] | None = None,
        *,
        username: str | None = None,
        password: str | None = None,
        timeout: float = 5,
        max_reconnect_attempts: int = 60,
        reconnect_time_wait: float = 2,
    ) -> None:
        self.servers = servers or ["nats://localhost:4222"]
        self.timeout = timeout
        self.closed = asyncio.Event()
        self.last_error = ""
        self._connection: Client | None = None
        self._credentials = {"user": username, "password": password} if username else {}
        self._reconnect = {"max_reconnect_attempts": max_reconnect_attempts, "reconnect_time_wait": reconnect_time_wait}

    async def connect(self) -> None:
        """Connect. Idempotent.

        Raises:
            ConnectionError: no server answered in time, or none took the credentials.
        """
        if self.is_connected:
            return
        self.closed.clear()
        try:
            self._connection = await asyncio.wait_for(
                nats.connect(
                    self.servers,
                    connect_timeout=int(self.timeout) or 1,
                    allow_reconnect=True,
                    ping_interval=PING_INTERVAL_S,
                    max_outstanding_pings=PINGS_OUTSTANDING,
                    # A publish while disconnected fails at once instead of landing minutes later as a ghost.
                    pending_size=0,
                    error_cb=self._on_error,
                    disconnected_cb=self._on_disconnected,
                    reconnected_cb=self._on_reconnected,
                    closed_cb=self._on_closed,
                    **self._credentials,
                    **self._reconnect,
                ),
                self.timeout,
            )
        except (OSError, asyncio.TimeoutError, nats.errors.Error) as error:
            why = self.last_error or str(error) or type(error).__name__
            raise NatsConnectionError(
                f"Failed to connect to NATS at {', '.join(map(_without_password, self.servers))}: {why}. "
                "Is it running (fraisier doctor)? Check NATS_SERVERS, NATS_USERNAME and NATS_PASSWORD."
            ) from None
        self._watch_silence()

    async def disconnect(self) -> None:
        """Close the connection. Idempotent."""
        connection, self._connection = self._connection, None
        if connection is not None and not connection.is_closed:
            try:
                await asyncio.wait_for(connection.close(), self.timeout)
            except asyncio.TimeoutError:
                logger.warning("NATS did not close in %s s", self.timeout)

    async def __aenter__(self) -> Self:
        """Connect."""
        await self.connect()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Disconnect."""
        await self.disconnect()

    @property
    def is_connected(self) -> bool:
        """Whether the connection stands now."""
        return self._connection is not None and self._connection.is_connected

    @property
    def connection(self) -> Client:
        """The nats-py connection.

        Raises:
            ConnectionError: `connect` was not called.
        """
        if self._connection is None:
            raise NatsConnectionError("not connected to NATS: call `await client.connect()` first")
        return self._connection

    @property
    def jetstream(self) -> JetStreamContext:
        """JetStream over this connection."""
        return self.connection.jetstream(timeout=self.timeout)

    async def _on_error(self, error: Exception) -> None:
        self.last_error = str(error) or type(error).__name__
        logger.warning("NATS: %s", self.last_error)

    async def _on_disconnected(self) -> None:
        if self._connection is not None:  # else it was us who closed it
            logger.warning("NATS connection lost")

    async def _on_reconnected(self) -> None:
        self._watch_silence()
        logger.info("NATS connection is back")

    async def _on_closed(self) -> None:
        self.closed.set()

    def _watch_silence(self) -> None:
        transport: Any = getattr(self._connection, "_transport", None)
        writer = getattr(transport, "_io_writer", None)
        sock = writer.get_extra_info("socket") if writer is not None else None
        option = getattr(socket, "TCP_USER_TIMEOUT", None)
        if sock is not None and option is not None:
            sock.setsockopt(socket.IPPROTO_TCP, option, USER_TIMEOUT_MS)


def _without_password(server: str) -> str:
    scheme, _, rest = server.rpartition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}" if scheme else rest.rpartition("@")[2]
