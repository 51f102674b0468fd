"""How a release becomes a container, and what a container tells of its release. Pure."""

import hashlib
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from fraisier.providers.docker.options import DockerOptions
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
NANOSECONDS = 1_000_000_000


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
    published = [_published(port) for port in options.ports]
    config: dict[str, Any] = {
        "Image": image_id,
        "Env": [f"{name}={value}" for name, value in sorted(environment.items())],
        "Labels": {**options.labels, **release_labels(step, release)},
        "ExposedPorts": {inside: {} for inside, _ in published},
        "StopTimeout": max(1, round(options.stop_timeout.total_seconds())),
        "HostConfig": {
            "Binds": list(options.volumes),
            "PortBindings": {inside: [outside] for inside, outside in published},
            "RestartPolicy": {"Name": options.restart},
            "NetworkMode": options.network or "default",
        },
    }
    if options.command is not None:
        config["Cmd"] = list(options.command)
    if options.user is not None:
        config["User"] = options.user
    if options.healthcheck is not None:
        config["Healthcheck"] = {
            "Test": ["CMD", *options.healthcheck],
            "Interval": NANOSECONDS,
            "Timeout": 5 * NANOSECONDS,
            "Retries": 3,
        }
    return config


def clone(inspected: dict[str, Any], step: Step, release: ReleaseRef) -> dict[str, Any]:
    """The configuration of an existing container for a new one in this generation: its options of then, not of now."""
    config = {key: value for key, value in inspected["Config"].items() if key not in ("Hostname", "Domainname")}
    host = dict(inspected["HostConfig"])
    labels = {**config["Labels"], **release_labels(step, release)}
    return {**config, "Image": inspected["Image"], "Labels": labels, "HostConfig": host}


def as_candidate(config: dict[str, Any]) -> dict[str, Any]:
    """The same container with no published port and no restart, to be tried beside the one that runs."""
    labels = {**config["Labels"], KIND: CANDIDATE_KIND}
    host = {**config["HostConfig"], "PortBindings": {}, "RestartPolicy": {"Name": "no"}}
    return {**config, "Labels": labels, "HostConfig": host}


def publishes(inspected: dict[str, Any]) -> bool:
    """Whether a container wants fixed ports of the engine's host."""
    bindings = inspected["HostConfig"].get("PortBindings") or {}
    return any(binding.get("HostPort") not in (None, "", "0") for group in bindings.values() for binding in group or ())


def started_at(inspected: dict[str, Any]) -> datetime:
    """When a container was last started, by the engine's clock."""
    return datetime.fromisoformat(inspected["State"]["StartedAt"][:19] + "+00:00")


def _published(port: str) -> tuple[str, dict[str, str]]:
    port, _, protocol = port.partition("/")
    outside, _, inside = port.rpartition(":")
    address, _, host_port = outside.rpartition(":")
    return f"{inside}/{protocol or 'tcp'}", {"HostIp": address, "HostPort": host_port}
