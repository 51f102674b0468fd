"""Which code carries a rollout on: with ``FRAISIER_WORKER_VERSIONING=pinned`` the code that it began with."""

import asyncio
import hashlib
import os
import time
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from temporalio.api.workflowservice.v1 import DescribeWorkerDeploymentRequest, SetWorkerDeploymentCurrentVersionRequest
from temporalio.client import Client
from temporalio.common import VersioningBehavior, WorkerDeploymentVersion
from temporalio.service import RPCError, RPCStatusCode
from temporalio.worker import WorkerDeploymentConfig

from fraisier.orchestrator.errors import Invalid, Refused

VARIABLE = "FRAISIER_WORKER_VERSIONING"
DEPLOYMENT = "fraisier"
PORTIONS = ("fraisier.nats", "fraisier.providers", "fraisier.workflows", "fraisier.orchestrator")

KNOWN_WITHIN_S = 60.0
"""How long Temporal may take to hear of a worker's version from its first polls."""

ASK_EVERY_S = 0.5


def this_version() -> WorkerDeploymentVersion | None:
    """The version of this code, when workers are versioned; None when any worker carries any rollout on.

    Raises:
        Invalid: the variable has another value than ``pinned`` or ``off``.
    """
    wanted = os.environ.get(VARIABLE, "off")
    if wanted not in ("pinned", "off"):
        raise Invalid(f"{VARIABLE}={wanted} is neither pinned nor off")
    return WorkerDeploymentVersion(DEPLOYMENT, build_id()) if wanted == "pinned" else None


def build_id() -> str:
    """The package's version and a hash over its code: two builds of one version are told apart."""
    digest = hashlib.sha256()
    for name in PORTIONS:
        spec = find_spec(name)
        folder = Path(spec.origin or "").parent if spec else Path()
        for file in sorted(folder.rglob("*.py")):
            digest.update(f"{name}/{file.relative_to(folder)}\0".encode() + file.read_bytes() + b"\0")
    return f"{version('fraisier')}-{digest.hexdigest()[:12]}"


def pinned(to: WorkerDeploymentVersion) -> WorkerDeploymentConfig:
    """How a worker of a version polls: a rollout that it began stays with its version."""
    return WorkerDeploymentConfig(
        version=to, use_worker_versioning=True, default_versioning_behavior=VersioningBehavior.PINNED
    )


async def become_current(temporal: Client, mine: WorkerDeploymentVersion) -> None:
    """Let new rollouts begin with this version, unless it was current before: an old worker that restarts takes none.

    Its worker polls by now.

    Args:
        temporal: the server.
        mine: the version.

    Raises:
        Refused: the server has no worker versions, or lets this client choose none.
    """
    end = time.monotonic() + KNOWN_WITHIN_S
    while True:
        try:
            if not await _was_current(temporal, mine):
                await _make_current(temporal, mine)
        except RPCError as error:
            unheard = error.status in (RPCStatusCode.NOT_FOUND, RPCStatusCode.FAILED_PRECONDITION)
            if not unheard or time.monotonic() > end:
                raise Refused(
                    f"Temporal does not take {mine.to_canonical_string()} as the current version: {error.message}. "
                    f"Versions need a server from 1.29 on; without {VARIABLE} workers have none"
                ) from error
            await asyncio.sleep(ASK_EVERY_S)
        else:
            return


async def _was_current(temporal: Client, mine: WorkerDeploymentVersion) -> bool:
    answer = await temporal.workflow_service.describe_worker_deployment(
        DescribeWorkerDeploymentRequest(namespace=temporal.namespace, deployment_name=mine.deployment_name)
    )
    known = answer.worker_deployment_info.version_summaries
    return any(
        one.deployment_version.build_id == mine.build_id and one.HasField("first_activation_time") for one in known
    )


async def _make_current(temporal: Client, mine: WorkerDeploymentVersion) -> None:
    await temporal.workflow_service.set_worker_deployment_current_version(
        SetWorkerDeploymentCurrentVersionRequest(
            namespace=temporal.namespace, deployment_name=mine.deployment_name, build_id=mine.build_id
        )
    )
