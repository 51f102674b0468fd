"""The processes that make up a stack, and how each is started, asked and ended."""

import os
import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from fraisier.orchestrator.stack import nats_server, temporal_server
from fraisier.orchestrator.stack.state import Addresses

TASK_QUEUE = "fraisier"
FOREIGN = ("NATS_", "TEMPORAL_")
"""Variables that point at servers elsewhere; none of them is for a server of the stack."""


@dataclass(frozen=True)
class MemberSpec:
    """How one process of the stack is run.

    Attributes:
        name: its name, also its log file's.
        command: an absolute path and its arguments; no secret among them.
        env: its whole environment.
        patience_s: seconds that it may take to become ready.
        grace_s: seconds that it may take to end before it is killed.
    """

    name: str
    command: tuple[str, ...]
    env: Mapping[str, str]
    patience_s: float = 60.0
    grace_s: float = 15.0


async def ready(name: str, addresses: Addresses) -> bool:
    """Whether a member that runs also does its work; one that nothing is known of does so by running."""
    probes: dict[str, Callable[[Addresses], Awaitable[bool]]] = {
        "nats": nats_server.ready,
        "temporal": temporal_server.ready,
        "worker": worker_ready,
    }
    return await probes[name](addresses) if name in probes else True


async def worker_ready(addresses: Addresses) -> bool:
    """Whether a worker asks the stack's Temporal for work."""
    return await temporal_server.polled(addresses, TASK_QUEUE)


def nats(executable: Path, folder: Path, addresses: Addresses) -> MemberSpec:
    """The NATS server, with its data in `folder`."""
    config = nats_server.write_config(folder, addresses)
    return MemberSpec(
        name="nats",
        command=(str(executable), "--config", str(config)),
        env=server_environment(),
    )


def temporal(executable: Path, folder: Path, addresses: Addresses) -> MemberSpec:
    """The Temporal server and its UI, with their data in `folder`."""
    return MemberSpec(
        name="temporal",
        command=tuple(temporal_server.command(executable, folder, addresses)),
        env=server_environment(),
    )


def worker(env: Mapping[str, str]) -> MemberSpec:
    """The worker that carries the rollouts out, connected to the stack by `env`."""
    return MemberSpec(
        name="worker",
        command=(sys.executable, "-m", "fraisier.orchestrator", "worker"),
        env=os.environ | env,
        grace_s=30.0,
    )


def server_environment() -> dict[str, str]:
    """This process's environment, less what would point a server of the stack elsewhere."""
    return {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)}
