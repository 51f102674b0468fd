"""A connection to one engine: the library's blocking calls in threads, each with a deadline, its errors as ours."""

import asyncio
import http.client
import ssl
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import docker
import docker.constants
import docker.errors
import requests
import urllib3.exceptions

from fraisier.providers.bare_metal.channel import HostNetwork
from fraisier.providers.docker.options import EngineOptions
from fraisier.providers.docker.route import Route
from fraisier.providers.docker.threads import in_thread
from fraisier.providers.errors import (
    AuthenticationFailed,
    CommandFailed,
    CommandUnknown,
    ConnectFailed,
    HostKeyRejected,
    ProviderError,
)

R = TypeVar("R")

CALL_S = 60.0
GRACE_S = 1.0
LOST = (
    requests.exceptions.RequestException,
    urllib3.exceptions.HTTPError,
    http.client.HTTPException,
    docker.errors.StreamParseError,
    ssl.SSLError,
    ConnectionError,
    TimeoutError,
    asyncio.TimeoutError,
)
"""What the library raises when an answer does not come, or breaks off."""

BROKEN_OFF = (ssl.SSLEOFError, ssl.SSLZeroReturnError, ssl.SSLSyscallError)
"""What is no verdict on a certificate: the other side went away."""

TAIL_BYTES = 4096


class _Client(docker.APIClient):  # type: ignore[misc]
    """Keeps to what it was told, and gives each call the client's own time: a pull would else wait for ever."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        # Otherwise authorities and proxies of the worker's environment would come before the engine's own.
        self.trust_env = False

    def _set_request_timeout(self, kwargs: dict[str, Any]) -> dict[str, Any]:
        return {**kwargs, "timeout": self.timeout}


class EngineConnection:
    """A connection that is opened when it is first needed, and again after it was lost.

    Args:
        options: where the engine is, and how long it may take.
        target: the target's name, for errors.
    """

    def __init__(self, options: EngineOptions, *, target: str) -> None:
        self.options = options
        self.target = target
        self._route = Route(options, target=target)
        self.url = self._route.address
        """The address for programs of this machine; once it is open, an engine over SSH has a socket here."""
        self._api: _Client | None = None
        self._opening = asyncio.Lock()

    @property
    def address(self) -> str:
        """Where the engine is."""
        return self._route.address

    @property
    def certificates(self) -> Path | None:
        """The folder with the certificates that it is spoken to by; None where TLS is not used."""
        return self._route.certificates

    @property
    def network(self) -> HostNetwork | None:
        """Reaches containers from the engine's host, where that is entered over SSH."""
        return self._route.network

    async def open(self) -> None:
        """Connect and agree on a version.

        Raises:
            ConnectFailed: it does not answer in time, or refuses.
            HostKeyRejected: its certificate, or its host's key, is not the one that is trusted.
            AuthenticationFailed: it does not let us in.
        """
        async with self._opening:
            if self._api is None or not self._route.is_open:
                self._forget()
                await self._open()

    async def close(self) -> None:
        """Close the connection."""
        self._forget()
        await self._route.close()

    async def call(self, what: str, act: Callable[[Any], R], *, seconds: float | None = None) -> R:
        """Do it with the library; where there is no answer in time, the connection is not used again.

        Args:
            what: what it is called in errors.
            act: gets the library's client.
            seconds: how long it may take; `CALL_S` unless given.

        Raises:
            CommandFailed: the engine refuses.
            CommandUnknown: the engine was lost: it may have done it or not.
        """
        await self.open()
        seconds = CALL_S if seconds is None else seconds
        try:
            return await in_thread(partial(self._act, act, seconds), seconds + GRACE_S)
        except docker.errors.APIError as error:
            raise CommandFailed(
                f"{self.target}: {what} failed: {error.explanation or error}",
                target=self.target,
                command=what,
                exit_status=None,
                tail=str(error.explanation or error)[-TAIL_BYTES:],
            ) from error
        except (docker.errors.DockerException, *LOST) as error:
            self._forget()
            raise CommandUnknown(
                f"{self.target}: the engine was lost during {what}: {str(error) or f'no answer within {seconds:g} s'}",
                target=self.target,
                command=what,
                exit_status=None,
            ) from error

    async def _open(self) -> None:
        self.url, seconds = await self._route.open(), self.options.connect_timeout.total_seconds()
        try:
            self._api = await in_thread(partial(self._connect, seconds), seconds + GRACE_S)
        except (docker.errors.DockerException, OSError, *LOST) as error:
            raise self._refused(error) or ConnectFailed(
                f"{self.address}: no Docker engine answers: {str(error) or f'no answer within {seconds:g} s'}",
                target=self.target,
            ) from error

    def _forget(self) -> None:
        api, self._api = self._api, None
        if api is not None:
            api.close()

    def _connect(self, seconds: float) -> _Client:
        """Ask for the version first: an abandoned thread ends by itself, and the library's own way leaks its socket."""
        self._route.knock()
        asking = self._client(docker.constants.MINIMUM_DOCKER_API_VERSION, seconds)
        try:
            version = asking.version(api_version=False)["ApiVersion"]
        except requests.exceptions.ConnectionError:
            self._route.shake_hands()
            raise
        finally:
            asking.close()
        return self._client(version, CALL_S)

    def _act(self, act: Callable[[Any], R], seconds: float) -> R:
        """Do it by the client that waits so long for an answer, so that the thread ends when nobody waits any more."""
        api = self._api
        if api is None:
            raise ConnectionError("the connection was closed")
        self._route.knock()
        if seconds == api.timeout:
            return act(api)
        own = self._client(api.api_version, seconds)
        try:
            return act(own)
        finally:
            own.close()

    def _client(self, version: str, seconds: float) -> _Client:
        return _Client(base_url=self.url, version=version, timeout=seconds, tls=self._route.tls())

    def _refused(self, error: BaseException) -> ProviderError | None:
        """The error of certificates that do not match, which no second try will mend."""
        found = _cause(error, ssl.SSLError)
        if isinstance(found, ssl.SSLCertVerificationError):
            return HostKeyRejected(
                f"{self.address}: its certificate is not one that {self._route.certificates}/ca.pem vouches for: "
                f"{found.verify_message}",
                target=self.target,
            )
        if found is not None and not isinstance(found, BROKEN_OFF):
            return AuthenticationFailed(
                f"{self.address}: it does not take the certificate in {self._route.certificates}: "
                f"{found.reason or found}",
                target=self.target,
            )
        return None


def _cause(error: BaseException | None, kind: type[ssl.SSLError]) -> ssl.SSLError | None:
    """The error at the bottom; the libraries in between chain some of theirs, and put others into their arguments."""
    while error is not None and not isinstance(error, kind):
        inside = (one for one in error.args if isinstance(one, BaseException))
        error = error.__cause__ or error.__context__ or next(inside, None)
    return error
