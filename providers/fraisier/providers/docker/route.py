"""The way to an engine: a socket of this machine, mutual TLS, or a socket of a host that is entered over SSH."""

import asyncio
import os
import shutil
import socket
import tempfile
from pathlib import Path
from typing import Any

import asyncssh
import docker.tls
import httpcore

from fraisier.providers.bare_metal.channel import HostNetwork
from fraisier.providers.bare_metal.connection import HostConnection
from fraisier.providers.docker.addresses import in_the_clear, socket_of
from fraisier.providers.docker.options import EngineOptions
from fraisier.providers.errors import AuthenticationFailed, ConnectFailed

DEFAULT_ENGINE = "unix:///var/run/docker.sock"
CERTIFICATES = ("ca.pem", "cert.pem", "key.pem")
OURS = "engine.sock"


class Route:
    """How the library reaches one engine.

    The library's own ``ssh://`` starts whatever ``ssh`` it finds, under that program's rules; here an engine's host
    is entered as any other host is.

    Args:
        options: where the engine is, and who may use it.
        target: the target's name, for errors.
    """

    def __init__(self, options: EngineOptions, *, target: str) -> None:
        self._options = options
        self._target = target
        self._folder: Path | None = None
        ssh = self.address.startswith("ssh://")
        self.host = HostConnection(options.ssh(self.address), target=target) if ssh else None

    @property
    def address(self) -> str:
        """Where the engine is, as people write it."""
        return self._options.engine or os.environ.get("DOCKER_HOST") or DEFAULT_ENGINE

    @property
    def network(self) -> HostNetwork | None:
        """Reaches containers from the engine's host; None is the worker's own network."""
        return HostNetwork(self.host) if self.host is not None else None

    @property
    def is_open(self) -> bool:
        """Whether the way is not known to be lost."""
        return self.host is None or self.host.is_open

    async def open(self) -> str:
        """The URL for the library, good for as long as the way is not closed.

        Raises:
            ConnectFailed: the host does not answer, or has no such socket.
            HostKeyRejected: the host's key is unknown or has changed.
            AuthenticationFailed: no key opened the host, or the engine would be spoken to in the clear.
        """
        if self.host is not None:
            return f"unix://{await self._socket_there(self.host)}"
        if in_the_clear(self.address, self._certificates()):
            raise AuthenticationFailed(
                f"{self.address}: would be spoken to in the clear, and whoever may is root there: give tls_path, or "
                "use ssh://",
                target=self._target,
            )
        return self.address

    def tls(self) -> Any:
        """The library's TLS settings, or False.

        Raises:
            AuthenticationFailed: a certificate is missing.
        """
        folder = self._certificates()
        if folder is None or not self.address.startswith("tcp://"):
            return False
        missing = [name for name in CERTIFICATES if not (folder / name).is_file()]
        if missing:
            raise AuthenticationFailed(
                f"{self.address}: {folder} has no {' and no '.join(missing)}; it must hold {', '.join(CERTIFICATES)}",
                target=self._target,
            )
        authority, *own = (str(folder / name) for name in CERTIFICATES)
        return docker.tls.TLSConfig(ca_cert=authority, client_cert=tuple(own), verify=True)

    def knock(self) -> None:
        """See whether anything accepts connections at a socket of this machine; the library leaks its own if not.

        Raises:
            OSError: nothing does.
        """
        path = self.address.removeprefix("unix://")
        if path != self.address:
            with socket.socket(socket.AF_UNIX) as own:
                own.settimeout(self._options.connect_timeout.total_seconds())
                own.connect(path)

    async def close(self) -> None:
        """Leave the host."""
        if self.host is not None:
            await self.host.close()
        folder, self._folder = self._folder, None
        if folder is not None:
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)

    def _certificates(self) -> Path | None:
        folder = self._options.tls_path or (None if self._options.engine else os.environ.get("DOCKER_CERT_PATH"))
        return Path(folder).expanduser() if folder else None

    async def _socket_there(self, host: HostConnection) -> Path:
        """The host's socket, as a socket of ours that only this user may use."""
        if self._folder is None:
            self._folder = Path(await asyncio.to_thread(tempfile.mkdtemp, prefix="fraisier-"))
        ours = self._folder / OURS
        if host.is_open and ours.is_socket():
            return ours
        ssh = await host.open()
        there = socket_of(self.address)
        await self._answers(host, there)
        ours.unlink(missing_ok=True)
        try:
            await ssh.forward_local_path(str(ours), there)
        except (OSError, asyncssh.Error) as error:
            raise ConnectFailed(f"{self.address}: {error}", target=self._target) from error
        return ours

    async def _answers(self, host: HostConnection, path: str) -> None:
        """Open the host's socket once: later the library would only see that ours is closed."""
        try:
            _, writer = await host.dial_socket(path)
        except httpcore.ConnectError as error:
            raise ConnectFailed(
                f"{self.address}: no Docker engine answers: {error}; does Docker run there, may this user use its "
                "socket, and does sshd let it be reached (AllowStreamLocalForwarding)?",
                target=self._target,
            ) from error
        writer.close()
