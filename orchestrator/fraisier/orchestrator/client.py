"""The Python client: start rollouts, watch them, and steer them."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

from pydantic import BaseModel

from fraisier.nats import ArtifactStore, Event, get_nats_config
from fraisier.nats.config import NatsConfig
from fraisier.orchestrator.connections import Connections
from fraisier.orchestrator.planned import TargetChange, changes, local_release
from fraisier.orchestrator.steering import Handle, Steering, new_rollout_id
from fraisier.orchestrator.uploading import upload
from fraisier.orchestrator.watching import watch
from fraisier.providers.registry import load_provider
from fraisier.workflows.contracts import RolloutInput
from fraisier.workflows.manifest.check import check_manifest
from fraisier.workflows.manifest.models import Manifest
from fraisier.workflows.planning import make_plan
from fraisier.workflows.plans import Plan
from fraisier.workflows.status import RolloutStatus


def options_of(provider: str) -> type[BaseModel]:
    """The options model of a provider, for `check_manifest`."""
    return load_provider(provider).Options


def load_checked(path: Path) -> Manifest:
    """Read a manifest and check all of it.

    Raises:
        ManifestInvalid: with every problem and its line.
    """
    return check_manifest(path, options_of)


def planned(path: Path, config: NatsConfig | None = None) -> Plan:
    """The plan of a manifest, whose files stay where they are.

    Args:
        path: the manifest.
        config: holds the gates' default timeout; the environment's unless given.

    Raises:
        ManifestInvalid: with every problem and its line.
    """
    manifest = load_checked(path)
    timeout = gate_timeout(config or get_nats_config())
    return make_plan(manifest, local_release(manifest, path.parent), gate_timeout=timeout)


def gate_timeout(config: NatsConfig) -> timedelta:
    """How long gates may take that do not say so."""
    return timedelta(seconds=config.regional.inter_region_timeout)


class FraisierClient(Steering):
    """Starts rollouts and watches them, beside all that `Steering` does.

    Args:
        connections: to Temporal and NATS.
    """

    def __init__(self, connections: Connections) -> None:
        super().__init__(connections.temporal)
        self._to = connections

    async def start(self, path: Path, *, actor: str) -> Handle:
        """Check a manifest, upload its artifacts and start its rollout.

        Raises:
            ManifestInvalid: nothing was touched.
            Refused: another rollout of the service is open, or no worker is there.
        """
        return await self.start_checked(load_checked(path), path.parent, actor=actor)

    async def start_checked(self, manifest: Manifest, folder: Path, *, actor: str) -> Handle:
        """As `start`, for a manifest that was checked; its artifacts' paths begin at a folder."""
        await self._refuse_second(manifest.service)
        await self._refuse_without_worker()
        release = await upload(ArtifactStore(self._to.nats), manifest, folder)
        plan = make_plan(manifest, release, gate_timeout=gate_timeout(self._to.config))
        waves = " → ".join(", ".join(wave.regions) for wave in plan.waves)
        order = RolloutInput(rollout_id=new_rollout_id(), plan=plan, actor=actor)
        return await self._start(order, f"{plan.service} {release.version}", f"to {waves}")

    async def diff(self, path: Path) -> list[TargetChange]:
        """What a rollout of a manifest would change, target by target, asked of the targets. Changes nothing.

        Raises:
            ManifestInvalid: nobody was asked.
            Refused: no worker is there.
        """
        plan = planned(path, self._to.config)
        return [*changes(plan, await self._look(plan))]

    def watch(self, service: str) -> AsyncIterator[RolloutStatus | Event]:
        """Every change of the status and every event of the newest rollout, until it has ended."""
        return watch(self, self._to.bus, service)
