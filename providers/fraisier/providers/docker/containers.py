"""How a release becomes a container, and what a container tells of its release. Pure."""

import hashlib
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from fraisier.providers.docker.options import HOST, DockerOptions
from fraisier.providers.models import Release, ReleaseRef, Step

SERVICE = "dev.fraisier.service"
KIND = "dev.fraisier.kind"
VERSION = "dev.fraisier.version"
DIGEST = "dev.fraisier.digest"
ROLLOUT = "dev.fraisier.rollout"
STEP = "dev.fraisier.step"
GENERATION = "dev.fraisier.generation"
ORDINAL = "dev.fraisier.ordinal"
ATTEMPT = "dev.fraisier.attempt"

RELEASE_KIND, CLAIM_KIND, CANDIDATE_KIND = "release", "claim", "candidate"

KEPT = ".kept"
"""Ends the name of a container that had its turn and stays for a rollback."""

SHORT = 8
NANO = 1_000_000_000
DEFAULT_NETWORK = "default"
"""What an engine calls its own bridge, or whatever else it is set up to use."""


@dataclass(frozen=True)
class Container:
    """A container of a service.

    Attributes:
        status: the engine's word: ``created`` was never started.
    """

    id: str
    name: str
    status: str
    labels: dict[str, str]

    @property
    def release(self) -> ReleaseRef:
        """The release in it."""
        return ReleaseRef(version=self.labels[VERSION], digest=self.labels[DIGEST])

    @property
    def generation(self) -> int:
        """The fencing generation that made it."""
        return int(self.labels[GENERATION])

    @property
    def had_its_turn(self) -> bool:
        """Whether another one took its place."""
        return self.name.endswith(KEPT)


def container_name(step: Step, release: ReleaseRef) -> str:
    """The name of the release's container in this generation: the same for every attempt, of no use to others."""
    digest = release.digest.removeprefix("sha256:")
    short = (
        digest[:SHORT] if release.digest.startswith("sha256:") else hashlib.sha256(digest.encode()).hexdigest()[:SHORT]
    )
    return f"{step.service}-{release.version.replace('+', '_')}-{short}-g{step.token.generation}"


def release_labels(step: Step, release: ReleaseRef, *, kind: str = RELEASE_KIND) -> dict[str, str]:
    """What a release's container tells of itself."""
    return {
        SERVICE: step.service,
        KIND: kind,
        VERSION: release.version,
        DIGEST: release.digest,
        ROLLOUT: step.rollout_id,
        STEP: step.name,
        GENERATION: str(step.token.generation),
    }


def configuration(
    options: DockerOptions, step: Step, release: Release, *, image_id: str, environment: dict[str, str]
) -> dict[str, Any]:
    """The engine's configuration of the release's container; `environment` holds what secrets stand for."""
    bindings: dict[str, list[dict[str, str]]] = {}
    for inside, outside in map(_published, options.ports):
        bindings.setdefault(inside, []).append(outside)
    config: dict[str, Any] = {
        "Image": image_id,
        "Env": [f"{name}={value}" for name, value in sorted(environment.items())],
        "Labels": {**options.labels, **release_labels(step, release)},
        "ExposedPorts": {inside: {} for inside in bindings},
        "StopTimeout": max(1, round(options.stop_timeout.total_seconds())),
        "HostConfig": {**_host(options), "PortBindings": bindings},
    }
    given = {
        "Cmd": list(options.command) if options.command is not None else None,
        "User": options.user,
        "Hostname": options.hostname,
        "StopSignal": options.stop_signal,
        "Healthcheck": _healthcheck(options.healthcheck),
    }
    return {**config, **{key: value for key, value in given.items() if value is not None}}


def _host(options: DockerOptions) -> dict[str, Any]:
    host: dict[str, Any] = {
        "Binds": list(options.volumes),
        "Tmpfs": dict(one.partition(":")[::2] for one in options.tmpfs),
        "RestartPolicy": {"Name": options.restart},
        "NetworkMode": options.network[0] if options.network else DEFAULT_NETWORK,
        "ExtraHosts": [f"{name}:{address}" for name, address in options.extra_hosts.items()],
        "Memory": options.memory or 0,
        "NanoCpus": round((options.cpus or 0) * NANO),
        "Ulimits": [
            {"Name": name, "Soft": limit.soft, "Hard": limit.hard} for name, limit in sorted(options.ulimits.items())
        ],
        "CapAdd": list(options.cap_add),
        "CapDrop": list(options.cap_drop),
        "ReadonlyRootfs": options.read_only,
    }
    if options.pids_limit is not None:
        host["PidsLimit"] = options.pids_limit
    if options.log is not None:
        host["LogConfig"] = {"Type": options.log.driver, "Config": options.log.options}
    return host


def _healthcheck(argv: tuple[str, ...] | None) -> dict[str, Any] | None:
    if argv is None:
        return None
    return {"Test": ["CMD", *argv], "Interval": NANO, "Timeout": 5 * NANO, "Retries": 3}


def clone(inspected: dict[str, Any], step: Step, release: ReleaseRef) -> dict[str, Any]:
    """The configuration of an existing container for a new one in this generation: its options of then, not of now."""
    config = own_config(inspected)
    return {**config, "Labels": {**config["Labels"], **release_labels(step, release)}}


def as_candidate(inspected: dict[str, Any]) -> dict[str, Any]:
    """The same container with no published port and no restart, to be tried beside the one that runs."""
    config = own_config(inspected)
    labels = {**config["Labels"], KIND: CANDIDATE_KIND}
    host = {**config["HostConfig"], "PortBindings": {}, "RestartPolicy": {"Name": "no"}}
    return {**config, "Labels": labels, "HostConfig": host}


def own_config(inspected: dict[str, Any]) -> dict[str, Any]:
    """A container's configuration, to make another one like it: without what the engine gave only to this one."""
    config = {key: value for key, value in inspected["Config"].items() if key != "Domainname"}
    if inspected["Id"].startswith(config["Hostname"]) or inspected["HostConfig"]["NetworkMode"] == HOST:
        del config["Hostname"]
    return {**config, "Image": inspected["Image"], "HostConfig": dict(inspected["HostConfig"])}


def more_networks(inspected: dict[str, Any]) -> tuple[str, ...]:
    """The networks that a container joins beside its first one."""
    mode = inspected["HostConfig"]["NetworkMode"]
    first = "bridge" if mode == DEFAULT_NETWORK else mode
    return tuple(sorted(name for name in inspected["NetworkSettings"]["Networks"] if name != first))


def runs_alone(inspected: dict[str, Any]) -> bool:
    """Whether two of its kind cannot run side by side: both would want the same ports of the engine's host."""
    bindings = inspected["HostConfig"].get("PortBindings") or {}
    fixed = any(
        binding.get("HostPort") not in (None, "", "0") for group in bindings.values() for binding in group or ()
    )
    return fixed or on_host(inspected)


def on_host(inspected: dict[str, Any]) -> bool:
    """Whether it has the network of the engine's host, so that not even a candidate can run beside it."""
    return bool(inspected["HostConfig"]["NetworkMode"] == HOST)


def started_at(inspected: dict[str, Any]) -> datetime:
    """When a container was last started, by the engine's clock."""
    return datetime.fromisoformat(inspected["State"]["StartedAt"][:19] + "+00:00")


def _published(port: str) -> tuple[str, dict[str, str]]:
    """The port inside, and where it is published.

    >>> _published("[::1]:80:8080")
    ('8080/tcp', {'HostIp': '::1', 'HostPort': '80'})
    """
    port, _, protocol = port.partition("/")
    outside, _, inside = port.rpartition(":")
    address, _, host_port = outside.rpartition(":")
    return f"{inside}/{protocol or 'tcp'}", {"HostIp": address.strip("[]"), "HostPort": host_port}
