"""The connection: `NatsClient` over nats-py, with what a deployment needs of it."""

import asyncio
import logging
import re
import socket
import ssl
from pathlib import Path
from types import TracebackType
from typing import Any

import nats.errors
from nats.aio.client import Client
from nats.js import JetStreamContext
from typing_extensions import Self

from fraisier.nats.bus import NatsEventBus
from fraisier.nats.errors import NatsConnectionError
from fraisier.nats.metrics import CONNECTED, DISCONNECTS
from fraisier.nats.tls import TlsOnlyClient

__all__ = ["NatsClient", "NatsEventBus"]

logger = logging.getLogger(__name__)

PING_INTERVAL_S = 2
PINGS_OUTSTANDING = 2
USER_TIMEOUT_MS = 5000
"""How long sent bytes may stay unacknowledged before the kernel drops the connection: a silent network is noticed."""

REFUSALS_KEPT = 100
_REFUSED = re.compile(r'permissions violation for \w+ to "([^"]+)"', re.IGNORECASE)


_HINT = "Check NATS_SERVERS, NATS_USERNAME and NATS_PASSWORD."
_TLS_HINT = (
    "Check NATS_SERVERS, the seed or password, NATS_TLS_CA_FILE, and that NATS_TLS_CERT_FILE is signed by whom the "
    "server trusts: from a client that shows no such certificate it hangs up, often without a word."
)


class NatsClient:
    """A connection to NATS.

    Args:
        servers: URLs.
        username: with `password`, where the server asks for them.
        password: never logged.
        timeout: seconds for connecting and for one request.
        max_reconnect_attempts: for each server; -1 for ever. After the last one the connection is closed for good.
        reconnect_time_wait: seconds between two attempts.
        tls: the connection is encrypted, or there is none.
        certificate: the files of our certificate and its key, in `tls` too, to be read again for each connection.
        nkey_seed: of a user; instead of a password. Never logged.
        credentials_file: a JWT and its seed.

    Attributes:
        closed: set when the connection is closed for good; nothing but `connect` brings it back.
        last_error: the last trouble that the connection told of, for people to read.
        losses: how often the connection was lost.
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
        tls: ssl.SSLContext | None = None,
        certificate: tuple[Path, Path | None] | None = None,
        nkey_seed: str | None = None,
        credentials_file: str | None = None,
    ) -> None:
        self.servers = servers or ["nats://localhost:4222"]
        self.timeout = timeout
        self.closed = asyncio.Event()
        self.last_error = ""
        self.losses = 0
        self._connection: Client | None = None
        self._jetstream: tuple[Client, JetStreamContext] | None = None
        self._connecting = asyncio.Lock()
        self._up = False
        self._refused: dict[str, str] = {}
        self._tls = tls
        self._certificate = certificate
        self._options: dict[str, Any] = {
            "user": username,
            "password": password,
            "nkeys_seed_str": nkey_seed,
            "user_credentials": credentials_file,
            "tls": tls,
            # To nats-py 0 attempts mean no end of them.
            "allow_reconnect": max_reconnect_attempts != 0,
            "max_reconnect_attempts": max_reconnect_attempts,
            "reconnect_time_wait": reconnect_time_wait,
        }

    async def connect(self) -> None:
        """Connect. Idempotent.

        Raises:
            ConnectionError: no server answered in time, or none took the credentials.
        """
        async with self._connecting:
            # Also while a connection that was lost is being mended: a second one would leave the first behind.
            if self._connection is None or self._connection.is_closed:
                await self._connect()

    async def _connect(self) -> None:
        self.closed.clear()
        try:
            connection = TlsOnlyClient(self._certificate) if self._tls else Client()
            await asyncio.wait_for(
                connection.connect(
                    self.servers,
                    connect_timeout=int(self.timeout) or 1,
                    ping_interval=PING_INTERVAL_S,
                    max_outstanding_pings=PINGS_OUTSTANDING,
                    # A publish while disconnected fails at once instead of landing minutes later as a ghost.
                    pending_size=0,
                    error_cb=self._on_error,
                    disconnected_cb=self._on_disconnected,
                    reconnected_cb=self._on_reconnected,
                    closed_cb=self._on_closed,
                    **self._options,
                ),
                self.timeout,
            )
        except (OSError, asyncio.TimeoutError, nats.errors.Error) as error:
            why = self.last_error or str(error) or type(error).__name__
            # It may hang up on a user whom it refuses before its word of that is read.
            asked = "Is it running, and does it take this user (fraisier doctor)?"
            told = "It refuses this user." if "authorization" in why.lower() else asked
            raise NatsConnectionError(
                f"Failed to connect to NATS at {', '.join(map(_without_password, self.servers))}: {why}. "
                f"{told} {_TLS_HINT if self._tls else _HINT}"
            ) from None
        self._connection = connection
        self._count(up=True)
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
        connection = self.connection
        if self._jetstream is None or self._jetstream[0] is not connection:
            self._jetstream = connection, connection.jetstream(timeout=self.timeout)
        return self._jetstream[1]

    def refusal(self, *subjects: str) -> str | None:
        """What the server said when it refused one of these subjects since the last call for it; None if it did not.

        Args:
            subjects: whole subjects, or beginnings of them.
        """
        for refused in list(self._refused):
            if refused.startswith(tuple(subject.lower() for subject in subjects)):
                return self._refused.pop(refused)
        return None

    async def _on_error(self, error: Exception) -> None:
        self.last_error = str(error) or type(error).__name__
        found = _REFUSED.search(self.last_error)
        if found is not None:
            self._refused[found[1].lower()] = self.last_error
            while len(self._refused) > REFUSALS_KEPT:
                del self._refused[next(iter(self._refused))]
        # While connecting, whoever connects is told by the exception.
        logger.log(logging.DEBUG if self._connection is None else logging.WARNING, "NATS: %s", self.last_error)

    async def _on_disconnected(self) -> None:
        self._count(up=False)
        if self._connection is not None:  # else it was us who closed it
            self._forget_unsent(self._connection)
            self.losses += 1
            DISCONNECTS.inc()
            logger.warning("NATS connection lost")

    async def _on_reconnected(self) -> None:
        self._count(up=True)
        self._watch_silence()
        logger.info("NATS connection is back")

    async def _on_closed(self) -> None:
        self._count(up=False)
        self.closed.set()

    @staticmethod
    def _forget_unsent(connection: Any) -> None:
        """Drop what nats-py would send after the reconnect: by then its publisher may have given up."""
        connection._pending.clear()  # noqa: SLF001 (there is no public way)
        connection._pending_data_size = 0  # noqa: SLF001

    def _count(self, *, up: bool) -> None:
        if up != self._up:
            CONNECTED.inc(1 if up else -1)
        self._up = up

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
