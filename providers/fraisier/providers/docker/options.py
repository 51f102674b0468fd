"""What a manifest may say about a Docker target."""

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from fraisier.providers.duration import Duration
from fraisier.providers.secrets import Environment

Port = Annotated[str, Field(pattern=r"^((\d{1,3}(\.\d{1,3}){3}:)?\d{1,5}:)?\d{1,5}(/(tcp|udp))?$")]
Mount = Annotated[str, Field(pattern=r"^[^:]+:/[^:]*(:(ro|rw))?$")]


class EngineOptions(BaseModel):
    """What is the same for everything that runs on an engine.

    Attributes:
        name: the target's name; the engine's address unless given.
        engine: ``unix://…``, ``tcp://…`` or ``ssh://user@host``; what ``DOCKER_HOST`` says unless given.
        tls_path: a folder with ``ca.pem``, ``cert.pem`` and ``key.pem`` for a ``tcp://`` engine.
        env: environment variables: a value, or ``{secret: "env:NAME"}`` or ``{secret: "file:/path"}``, read where
            the worker runs when the container is made. Whoever may ask the engine sees a container's environment.
        stop_timeout: how long a container may take to end before it is killed.
        settle: how long a container without a health check must stay up before it counts as started.
        keep_releases: how many releases stay on the engine, the running one included.
        connect_timeout: how long the engine may take to answer.
        step_timeout: how long one step may take on the engine, a pull included.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str | None = None
    engine: str | None = Field(default=None, pattern=r"^(unix|tcp|ssh)://.+$")
    tls_path: Path | None = None
    env: Environment = Field(default_factory=dict)
    stop_timeout: Duration = timedelta(seconds=10)
    settle: Duration = timedelta(seconds=1)
    keep_releases: int = Field(default=3, ge=2)
    connect_timeout: Duration = timedelta(seconds=10)
    step_timeout: Duration = timedelta(minutes=10)


class DockerOptions(EngineOptions):
    """The options of a Docker target, beside those of every engine.

    Attributes:
        command: an argument list instead of the image's own.
        ports: published ports, as ``[[address:]host port:]container port[/udp]``.
        volumes: mounts, as ``volume or /folder:/folder in the container[:ro]``.
        network: the network that the container joins.
        labels: more labels for the container.
        user: as whom it runs.
        restart: what the engine does when it ends by itself.
        healthcheck: an argument list run in the container instead of the image's own health check.
    """

    command: tuple[str, ...] | None = None
    ports: tuple[Port, ...] = ()
    volumes: tuple[Mount, ...] = ()
    network: str | None = None
    labels: dict[str, str] = Field(default_factory=dict)
    user: str | None = None
    restart: Literal["no", "on-failure", "always", "unless-stopped"] = "unless-stopped"
    healthcheck: tuple[str, ...] | None = None

    @property
    def has_fixed_ports(self) -> bool:
        """Whether two containers cannot run side by side, since both want the same port of the engine's host."""
        return any(":" in port for port in self.ports)
