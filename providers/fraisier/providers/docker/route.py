"""The way to an engine: a socket of this machine, mutual TLS, or a socket of a host that is entered over SSH."""

import asyncio
import os
import shutil
import socket
import ssl
import tempfile
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

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
        self._through: asyncssh.SSHClientConnection | None = None
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
    def certificates(self) -> Path | None:
        """The folder with a ``tcp://`` engine's certificates; what goes with DOCKER_HOST only where that is used."""
        if not self.address.startswith("tcp://"):
            return None
        folder = self._options.tls_path or (None if self._options.engine else os.environ.get("DOCKER_CERT_PATH"))
        return Path(folder).expanduser() if folder else None

    @property
    def is_open(self) -> bool:
        """Whether the way is not known to be lost."""
        return self.host is None or (self._through is not None and not self._through.is_closed())

    async def open(self) -> str:
        """The URL for the library, good for as long as the way is not closed.

        Raises:
            ConnectFailed: the host does not answer, or has no such socket.
            HostKeyRejected: the host's key is unknown or has changed.
            AuthenticationFailed: no key opened the host, or the engine would be spoken to in the clear.
        """
        if self.host is not None:
            return f"unix://{await self._socket_there(self.host)}"
        if in_the_clear(self.address, self.certificates):
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
        folder = self.certificates
        if folder is None:
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

    def shake_hands(self) -> None:
        """See what an engine has against our certificates, where it asks for some.

        By TLS 1.2 it tells in the handshake. By TLS 1.3 it tells later, when we may have run into its closed door.

        Raises:
            OSError: it does not answer, or (as `ssl.SSLError`) does not agree.
        """
        if self.certificates is None:
            return
        authority, certificate, key = (self.certificates / name for name in CERTIFICATES)
        context = ssl.create_default_context(cafile=authority)
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(certificate, key)
        url, seconds = urlsplit(self.address), self._options.connect_timeout.total_seconds()
        with (
            socket.create_connection((url.hostname, url.port), timeout=seconds) as plain,
            context.wrap_socket(plain, server_hostname=url.hostname),
        ):
            return

    async def close(self) -> None:
        """Leave the host."""
        if self.host is not None:
            await self.host.close()
        folder, self._folder, self._through = self._folder, None, None
        if folder is not None:
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)

    async def _socket_there(self, host: HostConnection) -> Path:
        """The host's socket, as a socket of ours that only this user may use."""
        ssh, there = await host.open(), socket_of(self.address)
        if self._folder is not None and ssh is self._through:
            return self._folder / OURS
        await self._answers(host, there)
        if self._folder is None:
            self._folder = Path(await asyncio.to_thread(tempfile.mkdtemp, prefix="fraisier-"))
        ours = self._folder / OURS
        ours.unlink(missing_ok=True)
        try:
            await ssh.forward_local_path(str(ours), there)
        except (OSError, asyncssh.Error) as error:
            await self.close()
            raise ConnectFailed(f"{self.address}: {error}", target=self._target) from error
        self._through = ssh
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
