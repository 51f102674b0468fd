"""One Docker engine, as the steps see it."""

import time
from collections.abc import Sequence
from functools import partial
from typing import Any

import docker
import docker.errors

from fraisier.providers.docker.connection import CALL_S, TAIL_BYTES, EngineConnection
from fraisier.providers.docker.containers import KIND, SERVICE, Container
from fraisier.providers.errors import CommandFailed
from fraisier.providers.masking import Masking

CONFLICT = 409
LOOK_EVERY_S = 0.05
TAIL_LINES = 20
PART_BYTES = 64 * 1024


class Engine(EngineConnection):
    """What the steps ask of an engine."""

    async def containers(self, service: str, kind: str) -> list[Container]:
        """The service's containers of a kind, running or not."""
        labels = {"label": [f"{SERVICE}={service}", f"{KIND}={kind}"]}
        found = await self.call("list containers", lambda api: api.containers(all=True, filters=labels))
        return [
            Container(id=one["Id"], name=one["Names"][0].lstrip("/"), status=one["State"], labels=one["Labels"])
            for one in found
            if one["Names"]
        ]

    async def inspect(self, container: str) -> dict[str, Any]:
        """All that the engine knows of a container."""
        found: dict[str, Any] = await self.call("inspect", lambda api: api.inspect_container(container))
        return found

    async def create(self, name: str, config: dict[str, Any], networks: Sequence[str] = ()) -> str:
        """Create a container and return its ID; one of that name that is there already is taken as it is.

        Args:
            name: its name.
            config: as the engine takes it.
            networks: those that it joins beside the one in `config`.
        """

        def make(api: docker.APIClient) -> str:
            try:
                return str(api.create_container_from_config(config, name=name)["Id"])
            except docker.errors.APIError as error:
                if error.status_code != CONFLICT:
                    raise
                return str(api.inspect_container(name)["Id"])

        container = await self.call(f"create {name}", make)
        await self._join(container, networks)
        return container

    async def networks(self) -> set[str]:
        """The names of the engine's networks."""
        return {one["Name"] for one in await self.call("list networks", lambda api: api.networks())}

    async def _join(self, container: str, networks: Sequence[str]) -> None:
        joined = (await self.inspect(container))["NetworkSettings"]["Networks"] if networks else {}
        for one in networks:
            if one not in joined:
                await self.call(f"join {one}", partial(_connect, container=container, network=one))

    async def start(self, container: str) -> None:
        """Start a container by its ID; one that runs goes on running."""
        await self.call("start", lambda api: api.start(container))

    async def stop(self, container: str) -> None:
        """Stop a container by its ID; killed when its time is over. One that is gone needs no stopping."""
        seconds = max(1, round(self.options.stop_timeout.total_seconds()))

        def stop(api: docker.APIClient) -> None:
            try:
                api.stop(container, timeout=seconds)
            except docker.errors.NotFound:
                return

        await self.call("stop", stop, seconds=CALL_S + seconds)

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

        await self.call("rename", rename)

    async def remove(self, container: str, *, volumes: bool = True) -> None:
        """Remove a container by its ID, whatever it does; one that is gone or going is success.

        Args:
            container: its ID.
            volumes: whether the volumes without a name that only it has go too.
        """

        def remove(api: docker.APIClient) -> None:
            try:
                api.remove_container(container, force=True, v=volumes)
            except docker.errors.NotFound:
                return
            except docker.errors.APIError as error:
                if error.status_code != CONFLICT or "already in progress" not in str(error):
                    raise

        await self.call("remove", remove)

    async def image_id(self, reference: str) -> str | None:
        """The ID of an image that the engine has."""

        def look(api: docker.APIClient) -> str | None:
            try:
                return str(api.inspect_image(reference)["Id"])
            except docker.errors.ImageNotFound:
                return None

        return await self.call("inspect image", look)

    async def import_empty(self, name: str) -> None:
        """Make an image with nothing in it."""
        nothing = bytes(10240)  # an empty tar archive
        await self.call("import", lambda api: api.import_image_from_data(nothing, repository=name, tag="1"))

    async def run_in(self, container: str, argv: tuple[str, ...], *, seconds: float) -> tuple[int, str]:
        """Run a command in a container: its exit status and the end of its output.

        Nobody can end a command in a container but the container itself. So while one that was given up still runs
        there, whoever started it, no other one like it is started beside it.

        Raises:
            CommandFailed: the same command still runs there.
        """

        def run(api: docker.APIClient) -> tuple[int, str]:
            deadline = time.monotonic() + seconds / 2  # it may be the container's own health check, which ends
            while _runs_in(api, container, argv):
                if time.monotonic() > deadline:
                    raise _still_there(self.target, argv)
                time.sleep(LOOK_EVERY_S)
            made, output = api.exec_create(container, list(argv))["Id"], b""
            parts = api.exec_start(made, stream=True)
            try:
                for part in parts:
                    output = (output + part)[-TAIL_BYTES:]
            finally:
                parts._response.close()  # noqa: SLF001 (its own close leaves the connection half open)
            status = api.exec_inspect(made)["ExitCode"]
            if status is None:  # the library takes silence for the end
                raise TimeoutError(f"{argv[0]} did not end within {seconds:g} s")
            return int(status), output.decode(errors="replace").strip()

        return await self.call(f"exec {argv[0]}", run, seconds=seconds)

    async def tail(self, container: str, *, hidden: tuple[str, ...] = ()) -> str:
        """The last lines that a container wrote, without these secrets, or why they cannot be read."""

        def read(api: docker.APIClient) -> str:
            try:
                said: bytes = api.logs(container, tail=TAIL_LINES)
            except docker.errors.APIError as error:
                return f"(its log cannot be read: {error.explanation})"
            masking, shown = Masking(hidden), b""
            for begin in range(0, len(said), PART_BYTES):  # a line may be as long as it likes
                shown = (shown + masking.part(said[begin : begin + PART_BYTES]))[-TAIL_BYTES:]
            return (shown + masking.rest())[-TAIL_BYTES:].decode(errors="replace").strip()

        return await self.call("logs", read)


def _runs_in(api: docker.APIClient, container: str, argv: tuple[str, ...]) -> bool:
    """Whether a command was started in a container and has not ended."""
    for one in api.inspect_container(container).get("ExecIDs") or ():
        try:
            found = api.exec_inspect(one)
        except docker.errors.NotFound:
            continue
        process = found["ProcessConfig"]
        if found["Running"] and (process["entrypoint"], *(process["arguments"] or ())) == argv:
            return True
    return False


def _still_there(target: str, argv: tuple[str, ...]) -> CommandFailed:
    return CommandFailed(
        f"{target}: {argv[0]} of an earlier check still runs in the container, and no other one is started beside it: "
        "let it end by itself, within the check's timeout",
        target=target,
        command=argv[0],
        exit_status=None,
    )


def _connect(api: docker.APIClient, *, container: str, network: str) -> None:
    api.connect_container_to_network(container, network)
