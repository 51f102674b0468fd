"""What a manifest may say about a Docker target."""

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import Field, model_validator

from fraisier.providers.docker.addresses import Address, in_the_clear
from fraisier.providers.docker.notation import (
    Capability,
    HostAddress,
    Hostname,
    Labels,
    Log,
    Mount,
    Networks,
    Port,
    Size,
    StopSignal,
    Tmpfs,
    Ulimits,
)
from fraisier.providers.duration import Duration
from fraisier.providers.secrets import Environment
from fraisier.providers.ssh_options import SshLogin, SshOptions

HOST = "host"
"""The network of the engine's host itself."""

LEAST_MEMORY = 6 * 1024 * 1024
"""What an engine asks for at least."""


class EngineOptions(SshLogin):
    """What is the same for everything that runs on an engine.

    Those of `SshLogin` are for the hosts of ``ssh://`` engines; `connect_timeout` holds for every engine.

    Attributes:
        name: the target's name; the engine's address unless given.
        engine: ``unix:///path``, ``tcp://host:port`` or ``ssh://[user@]host[:port][/path of its socket]``; what
            ``DOCKER_HOST`` says unless given.
        tls_path: a folder with ``ca.pem``, ``cert.pem`` and ``key.pem`` for a ``tcp://`` engine. Without it only one
            on the loopback is spoken to.
        env: environment variables: a value, or ``{secret: "env:NAME"}`` or ``{secret: "file:/path"}``, read where
            the worker runs when the container is made. Whoever may ask the engine sees a container's environment.
        stop_timeout: how long a container may take to end before it is killed.
        settle: how long a container without a health check must stay up before it counts as started.
        keep_releases: how many releases stay on the engine, the running one included.
        step_timeout: how long one step may take on the engine, a pull included.
    """

    name: str | None = None
    engine: Address | None = None
    tls_path: Path | None = None
    env: Environment = Field(default_factory=dict)
    stop_timeout: Duration = timedelta(seconds=10)
    settle: Duration = timedelta(seconds=1)
    keep_releases: int = Field(default=3, ge=2)
    step_timeout: Duration = timedelta(minutes=10)

    @model_validator(mode="after")
    def _nothing_in_the_clear(self) -> "EngineOptions":
        if self.engine is not None and in_the_clear(self.engine, self.tls_path):
            raise ValueError(
                f"{self.engine} would be spoken to in the clear, and whoever may is root there: "
                "give tls_path, or use ssh://"
            )
        return self

    def ssh(self, address: str) -> SshOptions:
        """How the host of an ``ssh://`` address is entered."""
        url = urlsplit(address)
        login = {name: getattr(self, name) for name in SshLogin.model_fields}
        return SshOptions(host=url.hostname or "", port=url.port, username=url.username, **login)


class DockerOptions(EngineOptions):
    """The options of a Docker target, beside those of every engine.

    Attributes:
        command: an argument list instead of the image's own.
        ports: published ports, as ``[[address:]host port:]container port[/udp]``.
        volumes: mounts, as ``volume or /folder:/folder in the container[:ro]``.
        tmpfs: folders in memory, as ``/folder in the container[:size=64m,mode=1777]``.
        network: the networks that the container joins, the first one first; the engine's own bridge unless given.
        hostname: what the container calls itself; its ID unless given.
        extra_hosts: more names and their addresses; ``host-gateway`` is the engine's host.
        labels: more labels for the container.
        user: as whom it runs.
        memory: the most memory that it may use, in bytes or as ``512m``; no limit unless given.
        cpus: how many processors' time it may use, such as 1.5; no limit unless given.
        pids_limit: how many processes it may have; no limit unless given.
        ulimits: limits of its processes, by name: a number, or ``{soft: …, hard: …}``.
        cap_add: kernel capabilities beside the engine's usual ones, such as ``NET_ADMIN``.
        cap_drop: those that it shall not have; ``ALL`` drops all but those in `cap_add`.
        read_only: whether its root file system cannot be written.
        restart: what the engine does when it ends by itself.
        log: where the engine keeps what it writes; as the engine is set up unless given.
        healthcheck: an argument list run in the container instead of the image's own health check.
        stop_signal: what asks it to end; what its image says, else SIGTERM, unless given.
    """

    command: tuple[str, ...] | None = None
    ports: tuple[Port, ...] = ()
    volumes: tuple[Mount, ...] = ()
    tmpfs: tuple[Tmpfs, ...] = ()
    network: Networks = ()
    hostname: Hostname | None = None
    extra_hosts: dict[Hostname, HostAddress] = Field(default_factory=dict)
    labels: Labels = Field(default_factory=dict)
    user: str | None = None
    memory: Annotated[Size, Field(ge=LEAST_MEMORY)] | None = None
    cpus: float | None = Field(default=None, gt=0)
    pids_limit: int | None = Field(default=None, ge=1)
    ulimits: Ulimits = Field(default_factory=dict)
    cap_add: tuple[Capability, ...] = ()
    cap_drop: tuple[Capability, ...] = ()
    read_only: bool = False
    restart: Literal["no", "on-failure", "always", "unless-stopped"] = "unless-stopped"
    log: Log | None = None
    healthcheck: tuple[str, ...] | None = None
    stop_signal: StopSignal | None = None

    @model_validator(mode="after")
    def _fits(self) -> "DockerOptions":
        if HOST in self.network and (len(self.network) > 1 or self.ports or self.hostname):
            raise ValueError("network: host is the host's own: it goes with no other network, no ports and no hostname")
        inside = [one.split(":")[1] for one in self.volumes] + [one.split(":")[0] for one in self.tmpfs]
        twice = sorted({one for one in inside if inside.count(one) > 1})
        if twice:
            raise ValueError(f"{twice[0]} is mounted twice")
        return self
