"""One Docker engine: the SDK's blocking calls in threads, each with a deadline, its errors as ours."""

import asyncio
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import docker
import docker.constants
import docker.errors
import docker.tls
import requests

from fraisier.providers.docker.containers import KIND, SERVICE, Container
from fraisier.providers.docker.options import EngineOptions
from fraisier.providers.errors import ArtifactRejected, CommandFailed, CommandUnknown, ConnectFailed

R = TypeVar("R")

DEFAULT_ENGINE = "unix:///var/run/docker.sock"
CALL_S = 60.0
GRACE_S = 1.0
CONFLICT, NOT_MODIFIED = 409, 304
LOST = (requests.exceptions.ConnectionError, requests.exceptions.Timeout, ConnectionError, TimeoutError)
TAIL_LINES = 20
TAIL_BYTES = 4096


class Engine:
    """A connection to an engine.

    Args:
        options: where it is, and how long it may take.
        target: the target's name, for errors.
    """

    def __init__(self, options: EngineOptions, *, target: str) -> None:
        self._options = options
        self._target = target
        self._api: docker.APIClient | None = None

    @property
    def address(self) -> str:
        """Where the engine is."""
        return self._options.engine or os.environ.get("DOCKER_HOST") or DEFAULT_ENGINE

    async def open(self) -> None:
        """Connect and agree on a version.

        Raises:
            ConnectFailed: it does not answer in time, or refuses.
        """
        if self._api is not None:
            return
        seconds = self._options.connect_timeout.total_seconds()
        try:
            self._api = await asyncio.wait_for(asyncio.to_thread(self._connect, seconds), seconds + GRACE_S)
        except (
            docker.errors.DockerException,
            *LOST,
            asyncio.TimeoutError,
            OSError,
            subprocess.SubprocessError,
        ) as error:
            why = str(error) or f"no answer within {seconds:g} s"
            raise ConnectFailed(f"{self.address}: no Docker engine answers: {why}", target=self._target) from error

    async def close(self) -> None:
        """Close the connection."""
        api, self._api = self._api, None
        if api is not None:
            await asyncio.to_thread(api.close)

    async def containers(self, service: str, kind: str) -> list[Container]:
        """The service's containers of a kind, running or not."""
        labels = {"label": [f"{SERVICE}={service}", f"{KIND}={kind}"]}
        found = await self._call("list containers", lambda api: api.containers(all=True, filters=labels))
        return [
            Container(id=one["Id"], name=one["Names"][0].lstrip("/"), status=one["State"], labels=one["Labels"])
            for one in found
            if one["Names"]
        ]

    async def inspect(self, container: str) -> dict[str, Any]:
        """All that the engine knows of a container."""
        found: dict[str, Any] = await self._call("inspect", lambda api: api.inspect_container(container))
        return found

    async def create(self, name: str, config: dict[str, Any]) -> str:
        """Create a container and return its ID; one of that name that is there already is taken as it is."""

        def make(api: docker.APIClient) -> str:
            try:
                return str(api.create_container_from_config(config, name=name)["Id"])
            except docker.errors.APIError as error:
                if error.status_code != CONFLICT:
                    raise
                return str(api.inspect_container(name)["Id"])

        return await self._call(f"create {name}", make)

    async def start(self, container: str) -> None:
        """Start a container by its ID; one that runs goes on running."""
        await self._call("start", lambda api: api.start(container))

    async def stop(self, container: str) -> None:
        """Stop a container by its ID; killed when its time is over. One that is gone needs no stopping."""
        seconds = max(1, round(self._options.stop_timeout.total_seconds()))

        def stop(api: docker.APIClient) -> None:
            try:
                api.stop(container, timeout=seconds)
            except docker.errors.NotFound:
                return

        await self._call("stop", stop, seconds=CALL_S + seconds)

    async def rename(self, container: str, name: str) -> None:
        """Give a container another name; one that is gone, or bears it already, is left so."""

        def rename(api: docker.APIClient) -> None:
            try:
                api.rename(container, name)
            except docker.errors.NotFound:
                return
            except docker.errors.APIError:
                if api.inspect_container(container)["Name"] != f"/{name}":
                    raise

        await self._call("rename", rename)

    async def remove(self, container: str) -> None:
        """Remove a container by its ID, whatever it does; one that is gone or going is success."""

        def remove(api: docker.APIClient) -> None:
            try:
                api.remove_container(container, force=True, v=True)
            except docker.errors.NotFound:
                return
            except docker.errors.APIError as error:
                if error.status_code != CONFLICT or "already in progress" not in str(error):
                    raise

        await self._call("remove", remove)

    async def image_id(self, reference: str) -> str | None:
        """The ID of an image that the engine has."""

        def look(api: docker.APIClient) -> str | None:
            try:
                return str(api.inspect_image(reference)["Id"])
            except docker.errors.ImageNotFound:
                return None

        return await self._call("inspect image", look)

    async def load(self, archive: Path) -> None:
        """Load what ``docker save`` wrote, streamed.

        Raises:
            ArtifactRejected: the engine does not take it.
        """

        def load(api: docker.APIClient) -> None:
            with archive.open("rb") as file:
                for told in api.load_image(_chunks(file)):
                    if "error" in told:
                        raise ArtifactRejected(f"{archive.name}: {told['error']}", target=self._target, step="stage")

        await self._call("load", load, seconds=self._options.step_timeout.total_seconds())

    async def pull(self, reference: str) -> None:
        """Pull an image.

        Raises:
            ArtifactRejected: the registry does not have it, or does not give it.
        """
        repository, tag = _parts(reference)

        def pull(api: docker.APIClient) -> None:
            try:
                for told in api.pull(repository, tag=tag, stream=True, decode=True):
                    if "error" in told:
                        raise ArtifactRejected(f"{reference}: {told['error']}", target=self._target, step="stage")
            except docker.errors.APIError as error:
                raise ArtifactRejected(
                    f"{reference}: {error.explanation}", target=self._target, step="stage"
                ) from error

        await self._call("pull", pull, seconds=self._options.step_timeout.total_seconds())

    async def import_empty(self, name: str) -> None:
        """Make an image with nothing in it."""
        nothing = bytes(10240)  # an empty tar archive
        await self._call("import", lambda api: api.import_image_from_data(nothing, repository=name, tag="1"))

    async def run_in(self, container: str, argv: tuple[str, ...], *, seconds: float) -> tuple[int, str]:
        """Run a command in a container: its exit status and the end of its output."""

        def run(api: docker.APIClient) -> tuple[int, str]:
            made = api.exec_create(container, list(argv))["Id"]
            output = api.exec_start(made)
            return int(api.exec_inspect(made)["ExitCode"]), output[-TAIL_BYTES:].decode(errors="replace").strip()

        return await self._call(f"exec {argv[0]}", run, seconds=seconds)

    async def tail(self, container: str) -> str:
        """The last lines that a container wrote."""
        said = await self._call("logs", lambda api: api.logs(container, tail=TAIL_LINES))
        return str(said[-TAIL_BYTES:].decode(errors="replace").strip())

    async def _call(self, what: str, act: Callable[[Any], R], *, seconds: float = CALL_S) -> R:
        """Do it in a thread; the thread of a call that hangs is left behind, its connection is not used again."""
        await self.open()
        try:
            return await asyncio.wait_for(asyncio.to_thread(partial(act, self._api)), seconds)
        except docker.errors.APIError as error:
            raise CommandFailed(
                f"{self._target}: {what} failed: {error.explanation or error}",
                target=self._target,
                command=what,
                exit_status=None,
                tail=str(error.explanation or error)[-TAIL_BYTES:],
            ) from error
        except (*LOST, asyncio.TimeoutError, docker.errors.DockerException) as error:
            self._api = None
            raise CommandUnknown(
                f"{self._target}: the engine was lost during {what}: {error or 'no answer in time'}",
                target=self._target,
                command=what,
                exit_status=None,
            ) from error

    def _connect(self, seconds: float) -> docker.APIClient:
        """Ask for the version first: an abandoned thread ends by itself, and the library's own way leaks its socket."""
        socket = self.address.removeprefix("unix://")
        if socket != self.address and not Path(socket).is_socket():
            raise FileNotFoundError(f"there is no socket {socket}; is Docker running?")
        asking = self._client(docker.constants.MINIMUM_DOCKER_API_VERSION, seconds)
        try:
            version = asking.version(api_version=False)["ApiVersion"]
        finally:
            asking.close()
        return self._client(version, CALL_S)

    def _client(self, version: str, seconds: float) -> docker.APIClient:
        return docker.APIClient(
            base_url=self.address,
            version=version,
            timeout=seconds,
            tls=self._tls(),
            use_ssh_client=self.address.startswith("ssh://") and shutil.which("ssh") is not None,
        )

    def _tls(self) -> Any:
        folder = self._options.tls_path or os.environ.get("DOCKER_CERT_PATH")
        if not self.address.startswith("tcp://") or not folder:
            return False
        pem = Path(folder).expanduser()
        return docker.tls.TLSConfig(
            ca_cert=str(pem / "ca.pem"), client_cert=(str(pem / "cert.pem"), str(pem / "key.pem")), verify=True
        )


def _chunks(file: Any) -> Iterator[bytes]:
    while part := file.read(1024 * 1024):
        yield part


def _parts(reference: str) -> tuple[str, str | None]:
    """The repository, and the tag or digest: the library takes a reference without one for all tags."""
    if "@" in reference:
        repository, _, digest = reference.partition("@")
        return repository, digest
    folder, slash, last = reference.rpartition("/")
    name, _, tag = last.partition(":")
    return f"{folder}{slash}{name}", tag or "latest"
