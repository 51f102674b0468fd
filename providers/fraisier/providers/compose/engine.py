"""What a Compose target needs of its engine beside what containers do: projects, gates, files in containers."""

import io
import tarfile
from typing import Any

import docker.errors

from fraisier.providers.docker.containers import ATTEMPT, GENERATION, KIND, ORDINAL, SERVICE, Container
from fraisier.providers.docker.engine import Engine
from fraisier.providers.models import FencingToken

PROJECT = "com.docker.compose.project"
PROJECT_SERVICE = "com.docker.compose.service"
GATE_KIND = "gate"


class ProjectEngine(Engine):
    """A connection to an engine that runs Compose projects."""

    async def api_version(self) -> str:
        """The version of the engine's API."""
        version: str = await self.call("ask for the version", lambda api: api.api_version)
        return version

    async def project(self, name: str) -> list[Container]:
        """The containers of a project, running or not."""
        labels = {"label": [f"{PROJECT}={name}", f"{PROJECT_SERVICE}"]}
        found = await self.call("list containers", lambda api: api.containers(all=True, filters=labels))
        return [
            Container(id=one["Id"], name=one["Names"][0].lstrip("/"), status=one["State"], labels=one["Labels"])
            for one in found
            if one["Names"]
        ]

    async def gates(self, service: str) -> dict[str, FencingToken]:
        """The gates of a service, and whose they are."""
        labels = {"label": [f"{SERVICE}={service}", f"{KIND}={GATE_KIND}"]}
        found = await self.call("list volumes", lambda api: api.volumes(filters=labels)["Volumes"])
        return {one["Name"]: _token(one["Labels"]) for one in found or ()}

    async def open_gate(self, name: str, service: str, token: FencingToken) -> None:
        """Make a gate; one that is there already is taken as it is."""
        labels = {
            SERVICE: service,
            KIND: GATE_KIND,
            GENERATION: str(token.generation),
            ORDINAL: str(token.ordinal),
            ATTEMPT: str(token.attempt),
        }
        await self.call("create volume", lambda api: api.create_volume(name, labels=labels))

    async def close_gate(self, name: str) -> None:
        """Remove a gate; one that is gone is success."""

        def remove(api: docker.APIClient) -> None:
            try:
                api.remove_volume(name)
            except docker.errors.NotFound:
                return

        await self.call("remove volume", remove)

    async def put(self, container: str, archive: bytes) -> None:
        """Unpack a tar archive into a container that need not run."""
        await self.call("put files", lambda api: api.put_archive(container, "/", archive), seconds=self._transfer_s)

    async def get(self, container: str, file: str) -> bytes | None:
        """A file out of a container, or None when it is not there."""

        def get(api: docker.APIClient) -> bytes | None:
            try:
                parts, _ = api.get_archive(container, f"/{file}")
            except docker.errors.NotFound:
                return None
            with tarfile.open(fileobj=io.BytesIO(b"".join(parts))) as archive:
                found = archive.extractfile(file)
                return found.read() if found else None

        return await self.call("get files", get, seconds=self._transfer_s)

    @property
    def _transfer_s(self) -> float:
        return self.options.step_timeout.total_seconds()


def _token(labels: dict[str, Any]) -> FencingToken:
    return FencingToken(generation=int(labels[GENERATION]), ordinal=int(labels[ORDINAL]), attempt=int(labels[ATTEMPT]))
