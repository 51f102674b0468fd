"""HTTP by way of an SSH connection: httpcore's network, with channels of the host for its sockets."""

import asyncio
import ssl
from collections.abc import Iterable
from typing import Any

import asyncssh
import httpcore

from fraisier.providers.bare_metal.connection import HostConnection

PART = 64 * 1024


class HostNetwork(httpcore.AsyncNetworkBackend):
    """Opens every connection from the host's own side."""

    def __init__(self, connection: HostConnection) -> None:
        self._connection = connection

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,  # noqa: ARG002 (the library's argument)
        socket_options: Iterable[Any] | None = None,  # noqa: ARG002 (the library's argument)
    ) -> httpcore.AsyncNetworkStream:
        """Open a channel to an address as seen from the host."""
        try:
            return Channel(*await asyncio.wait_for(self._connection.dial(host, port), timeout))
        except (asyncio.TimeoutError, TimeoutError) as error:
            raise httpcore.ConnectTimeout(f"{host}:{port} does not answer") from error


class Channel(httpcore.AsyncNetworkStream):
    """One channel, with TLS on top where that was asked for."""

    def __init__(self, reader: asyncssh.SSHReader[bytes], writer: asyncssh.SSHWriter[bytes]) -> None:
        self._reader = reader
        self._writer = writer

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """What arrived, at most so much; nothing at the end."""
        try:
            return await asyncio.wait_for(self._reader.read(max_bytes), timeout)
        except (asyncio.TimeoutError, TimeoutError) as error:
            raise httpcore.ReadTimeout("no answer in time") from error
        except (asyncssh.Error, OSError) as error:
            raise httpcore.ReadError(str(error)) from error

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Send all of it."""
        try:
            self._writer.write(buffer)
            await asyncio.wait_for(self._writer.drain(), timeout)
        except (asyncio.TimeoutError, TimeoutError) as error:
            raise httpcore.WriteTimeout("nothing is taken in time") from error
        except (asyncssh.Error, OSError) as error:
            raise httpcore.WriteError(str(error)) from error

    async def aclose(self) -> None:
        """Close the channel."""
        self._writer.close()

    async def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.AsyncNetworkStream:
        """Shake hands and go on encrypted."""
        stream = TlsChannel(self, ssl_context, server_hostname)
        try:
            await asyncio.wait_for(stream.handshake(), timeout)
        except (asyncio.TimeoutError, TimeoutError) as error:
            raise httpcore.ConnectTimeout("no TLS handshake in time") from error
        return stream

    def get_extra_info(self, info: str) -> Any:  # noqa: ARG002 (the library's argument)
        """Nothing: there is no socket."""
        return None


class TlsChannel(httpcore.AsyncNetworkStream):
    """TLS in memory over a channel, which has no socket that could do it."""

    def __init__(self, channel: Channel, context: ssl.SSLContext, hostname: str | None) -> None:
        self._channel = channel
        self._arriving, self._leaving = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._arriving, self._leaving, server_hostname=hostname)

    async def handshake(self) -> None:
        """Agree on keys; a certificate that does not verify is a `httpcore.ConnectError`."""
        try:
            await self._until_done(self._tls.do_handshake)
        except ssl.SSLError as error:
            raise httpcore.ConnectError(str(error)) from error

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """What arrived, decrypted."""
        try:
            data: bytes = await self._until_done(lambda: self._tls.read(max_bytes), timeout)
        except ssl.SSLZeroReturnError:
            return b""
        except ssl.SSLError as error:
            raise httpcore.ReadError(str(error)) from error
        return data

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Send all of it, encrypted."""
        try:
            await self._until_done(lambda: self._tls.write(buffer), timeout)
        except ssl.SSLError as error:
            raise httpcore.WriteError(str(error)) from error

    async def aclose(self) -> None:
        """Close the channel."""
        await self._channel.aclose()

    def get_extra_info(self, info: str) -> Any:
        """The TLS object, which tells what protocol was agreed on."""
        return self._tls if info == "ssl_object" else None

    async def _until_done(self, act: Any, timeout: float | None = None) -> Any:
        while True:
            wanting = False
            try:
                return act()
            except ssl.SSLWantReadError:
                wanting = True
            finally:
                if self._leaving.pending:
                    await self._channel.write(self._leaving.read(), timeout)
                if wanting:
                    part = await self._channel.read(PART, timeout)
                    self._arriving.write(part) if part else self._arriving.write_eof()
