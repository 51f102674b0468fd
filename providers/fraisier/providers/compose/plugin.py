"""The ``docker compose`` plugin of this machine: python-on-whales knows how it is told where to work, and we run it.

The library's own runner would hold a thread for as long as a project takes to come up, could not be ended when the step
is cancelled, and takes no environment, which is where the plugin finds the values that no argument list may hold.
"""

import json
import os
import platform
import re
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from python_on_whales.client_config import ClientConfig, ClientNotFoundError

from fraisier.providers.compose.bundle import Variables
from fraisier.providers.compose.options import ComposeOptions
from fraisier.providers.docker.connection import EngineConnection
from fraisier.providers.errors import ArtifactRejected, CommandFailed
from fraisier.providers.local_command import Ended, run_here

NOTHING_FROM_ELSEWHERE = {
    "COMPOSE_EXPERIMENTAL_GIT_REMOTE": "false",
    "COMPOSE_EXPERIMENTAL_OCI_REMOTE": "false",
    "COMPOSE_ENV_FILES": "",
}
"""Keeps the plugin from Compose files that it would fetch, and from variables of files outside the release."""

OLDEST = (2, 24)
"""The first version that keeps a configuration's content inside the Compose file."""

WAY_OUT = "see https://docs.docker.com/compose/install/, or build the worker's image with --target worker-compose"

VERSION_S, RESOLVE_S = 15.0, 60.0
LINES = 8
UNSET = re.compile(r'The \\?"([^"\\]+)\\?" variable is not set')
NOISE = re.compile(r'^time="[^"]*" level=\w+ msg=')


class Plugin:
    """The plugin, told to work on one engine.

    Args:
        options: where the engine is and how long a step may take.
        engine: the engine; the plugin goes the way that is open to it.
        target: the target's name, for errors.
    """

    def __init__(self, options: ComposeOptions, *, engine: EngineConnection, target: str) -> None:
        self._options = options
        self._engine = engine
        self._target = target

    async def missing(self) -> str:
        """Why the plugin cannot be used here, or nothing."""
        if not hasattr(tarfile, "data_filter"):
            return (
                f"the worker's Python {platform.python_version()} cannot unpack an archive safely: run it with "
                "3.10.12, 3.11.4 or anything later"
            )
        try:
            ended = await self._run(ClientConfig(), ["version", "--short"], Variables(), seconds=VERSION_S)
        except CommandFailed as error:
            return str(error)
        found = re.search(r"(\d+)\.(\d+)", ended.stdout)
        if ended.status != 0 or found is None:
            return f"the worker's docker has no compose plugin: {WAY_OUT}"
        if (int(found[1]), int(found[2])) < OLDEST:
            oldest = ".".join(map(str, OLDEST))
            return f"the worker's docker compose is {ended.stdout.strip()}, and {oldest} is the oldest that will do"
        return ""

    async def resolve(
        self, folder: Path, files: tuple[str, ...], *, project: str, variables: Variables
    ) -> dict[str, Any]:
        """The Compose files of a release as one model, all variables filled in. The engine is not asked.

        Raises:
            ArtifactRejected: a file is not there, is wrong, or names a variable that nobody gave.
            CommandFailed: the plugin is not there, or does not answer in time.
        """
        named = ", ".join(files)
        for file in files:
            if not (folder / file).is_file():
                raise self._rejected(f"the release has no {file}: `file` says which of its files is the Compose file")
        where = ClientConfig(
            compose_files=[folder / file for file in files],
            compose_project_name=project,
            compose_project_directory=folder,
        )
        resolved = folder / ".resolved.json"
        command = ["config", "--format", "json", "--output", str(resolved)]
        ended = await self._run(where, command, variables, seconds=RESOLVE_S)
        if ended.status != 0:
            raise self._rejected(f"{named}: {_said(ended, folder)}")
        unset = sorted(set(UNSET.findall(ended.stderr)))
        if unset:
            raise self._rejected(
                f"{named}: nobody gives {' and '.join(unset)}: add it to env, or write ${{{unset[0]}:-}} for nothing"
            )
        model: dict[str, Any] = json.loads(resolved.read_text())
        return model

    async def up(
        self, folder: Path, model: Mapping[str, Any], *, variables: Variables, api_version: str, anew: bool
    ) -> None:
        """Bring the project to a model: create, start and remove containers until it is as the model says.

        Args:
            folder: where the model may lie while the plugin reads it.
            model: see `fraisier.providers.compose.model`; the engine has its images.
            variables: what the model's secrets are read from.
            api_version: of the engine: the plugin takes its own for the engine's.
            anew: make every container anew, also those that are as they should be.

        Raises:
            CommandFailed: the plugin ended otherwise, or not in time.
        """
        file = folder / ".up.json"
        file.touch(mode=0o600)
        file.write_text(json.dumps(model))
        where = self._at_engine(compose_files=[file], compose_project_directory=folder)
        command = ["--progress", "plain", "up", "--detach", "--no-build", "--pull", "never", "--remove-orphans"]
        ended = await self._run(
            where,
            [*command, "--force-recreate"] if anew else command,
            variables.beside({"DOCKER_API_VERSION": api_version}),
            seconds=self._options.step_timeout.total_seconds(),
        )
        if ended.status != 0:
            tail = _said(ended, folder)
            raise self._failed(f"docker compose up: {tail}", status=ended.status, tail=tail)

    def _at_engine(self, **more: Any) -> ClientConfig:
        pem = self._engine.certificates
        if pem is None:
            return ClientConfig(host=self._engine.url, **more)
        more |= {"tlscacert": pem / "ca.pem", "tlscert": pem / "cert.pem", "tlskey": pem / "key.pem"}
        return ClientConfig(host=self._engine.url, tlsverify=True, **more)

    async def _run(self, where: ClientConfig, command: list[str], variables: Variables, *, seconds: float) -> Ended:
        """Run it with these variables and no other: what the worker has in its environment is no release's business."""
        where.config = _docker_config()
        environment = {**variables.values, **NOTHING_FROM_ELSEWHERE}
        try:
            argv = tuple(str(part) for part in (*where.docker_compose_cmd, *command))
            return await run_here(argv, timeout_s=seconds, environment=environment, kept=(), hidden=variables.hidden)
        except TimeoutError as error:
            raise self._failed(f"docker compose did not end within {seconds:g} s") from error
        except (ClientNotFoundError, OSError, ValueError) as error:
            missing = isinstance(error, ClientNotFoundError)
            why = f"the worker has no docker command: {WAY_OUT}" if missing else str(error)
            raise self._failed(f"docker compose cannot be started: {why}") from error

    def _rejected(self, why: str) -> ArtifactRejected:
        return ArtifactRejected(f"{self._target}: {why}", target=self._target, step="stage")

    def _failed(self, why: str, *, status: int | None = None, tail: str = "") -> CommandFailed:
        return CommandFailed(
            f"{self._target}: {why}", target=self._target, command="docker compose", exit_status=status, tail=tail
        )


def _docker_config() -> Path:
    """The folder in which the docker command finds its plugins."""
    return Path(os.environ.get("DOCKER_CONFIG") or "~/.docker").expanduser()


def _said(ended: Ended, folder: Path) -> str:
    """The end of what the plugin said, without this machine's folders."""
    lines = [NOISE.sub("", line).strip() for line in ended.tail.splitlines() if line.strip()]
    return "\n".join(lines[-LINES:]).replace(f"{folder}/", "")
