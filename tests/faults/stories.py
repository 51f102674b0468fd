"""Rollouts under faults: how each is to go, where it is stopped for the fault, and how it ended."""

import asyncio
import json
import time
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from temporalio.client import WorkflowHandle
from temporalio.service import RPCError

from fraisier.workflows.contracts import RolloutPhase
from fraisier.workflows.rollout import RolloutWorkflow
from fraisier.workflows.search import STATE
from tests.faults.ground import NAMES, REGIONS, Ground
from tests.faults.service import build_release

STORIES = ("good", "good", "ill", "back")
MUST_END = {"good": "succeeded", "ill": "failed", "back": "rolled_back", "again": "succeeded"}
REACH_S = 60.0
END_S = 240.0
ASK_S = 5.0

NO_SOAK_COMES = (
    RolloutPhase.ROLLING_BACK,
    RolloutPhase.ROLLED_BACK,
    RolloutPhase.FAILED,
    RolloutPhase.CANCELLED,
    RolloutPhase.SUCCEEDED,
)

STEPS = ("stage", "activate", "health")
FORWARD = (
    "publish:deployment.triggered:global",
    "preflight:east",
    "mint_generation",
    "begin_wave",
    "publish:deployment.started:east",
    "publish:deployment.completed:east",
    "ask_gate",
)


@dataclass
class Story:
    """One rollout of a round.

    Attributes:
        old: by host, what runs there before.
        kind: ``good``, ``ill`` in its last region, taken ``back`` by a signal in its last soak, or ``again`` what runs.
        place: where it stands when the fault comes: a label of an activity and a moment, see `tests.faults.worker`.
    """

    service: str
    kind: str
    place: str
    old: dict[str, str]
    new: str
    handle: WorkflowHandle[Any, Any] | None = None
    manifest: Path = Path()
    rollout_id: str = ""
    digest: str = ""
    reached: bool = False
    result: dict[str, Any] | None = None

    async def start(self, ground: Ground) -> None:
        """Arm the place and start the rollout."""
        self._arm(ground)
        self.manifest = self._manifest(ground)
        self.handle = await ground.client.start(self.manifest, actor="faults")
        plan = await ground.client.plan(self.service)
        self.digest = plan.release.digest
        self.rollout_id = await (await self.handle.describe()).memo_value("rollout_id", type_hint=str)

    async def until_reached(self, ground: Ground) -> None:
        """Wait until it stands at its place; one that never comes there goes on, and is counted as not reached."""
        end = time.monotonic() + REACH_S
        going_back = asyncio.create_task(self._signal_in_the_soak()) if self.kind == "back" and self.is_back else None
        while time.monotonic() < end and not self.reached:
            self.reached = self._stands(ground)
            if not self.reached and await self._ended():
                break
            await asyncio.sleep(0.1)
        if going_back is not None:
            await going_back

    async def finish(self) -> None:
        """Wait for its end, sending the signal that it needs; what fails on the way is tried again."""
        try:
            await asyncio.wait_for(self._finish(), END_S)
        except (asyncio.TimeoutError, TimeoutError):
            # That is a violation; the service is needed for the next round.
            assert self.handle is not None
            await self.handle.terminate("it did not end in time")

    @property
    def is_back(self) -> bool:
        """Whether the place lies on the way back."""
        return self.place.startswith(("rollback:", "verify:", "publish:deployment.rolled_back"))

    async def _finish(self) -> None:
        assert self.handle is not None
        if self.kind == "back":
            await self._signal_in_the_soak()
        while self.result is None:
            try:
                ended = await asyncio.wait_for(self.handle.result(), 20)
                self.result = ended.model_dump(mode="json")
            except (RPCError, asyncio.TimeoutError, TimeoutError):
                await asyncio.sleep(0.3)

    async def _signal_in_the_soak(self) -> None:
        """Signal ``rollback`` once it soaks; more than once if it is not known whether the first one arrived.

        Whether it soaks is asked of Temporal itself. A query that waits for a worker is answered by it ahead of the
        history, and a signal that comes at once after that is one that does not replay (docs/faults.md).
        """
        assert self.handle is not None
        payload = {"by": "faults", "reason": "as its story says", "id": "back"}
        while True:
            try:
                phase = (await self.handle.describe()).typed_search_attributes.get(STATE)
                if phase == RolloutPhase.SOAKING.value:
                    await self.handle.signal(RolloutWorkflow.rollback, payload)
                    return
                if phase in NO_SOAK_COMES:
                    return
            except RPCError:
                pass
            await asyncio.sleep(0.5)

    async def _ended(self) -> bool:
        assert self.handle is not None
        try:
            return (await self.handle.describe()).close_time is not None
        except RPCError:
            return False

    def _arm(self, ground: Ground) -> None:
        label, _, when = self.place.rpartition(" ")
        if when == "during":
            host = label.split(":")[1]
            version = self.old[host] if label.startswith("rollback") else self.new
            root = ground.root(host, self.service)
            root.mkdir(parents=True, exist_ok=True)
            (root / "hold").write_text(version)
        elif self.place:
            for name in NAMES:
                label = label.replace(f":{name}", f":{ground.target(name)}")
            (ground.folder / "armed" / self.service).write_text(f"{label} {when}")

    def _stands(self, ground: Ground) -> bool:
        held = any((ground.root(name, self.service) / "held").exists() for name in NAMES)
        return held or (ground.folder / "reached" / self.service).exists()

    def _manifest(self, ground: Ground) -> Path:
        folder = ground.folder / "manifests" / self.service
        folder.mkdir(parents=True, exist_ok=True)
        artifact = build_release(folder, self.new, ill="west" if self.kind == "ill" else "")
        regions = {name: self._region(ground, name) for name in REGIONS}
        manifest = {
            "service": self.service,
            "release": {"version": self.new, "artifact": artifact.name},
            "waves": [{"regions": ["east"]}, {"regions": ["west"], "soak": "10m" if self.kind == "back" else "0s"}],
            "gates": [
                {
                    "name": "healthy",
                    "event": "health.check_passed",
                    "from": "every_target",
                    "none_of": ["health.check_failed"],
                    "timeout": "5m",
                }
            ],
            "decision_timeout": "0s",
            "regions": regions,
        }
        path = folder / f"{self.new}.yaml"
        path.write_text(json.dumps(manifest, indent=1))  # JSON is YAML
        return path

    def _region(self, ground: Ground, region: str) -> dict[str, Any]:
        targets = [
            {"host": host, "port": port, "root": str(ground.root(name, self.service))}
            for name in REGIONS[region]
            for host, port in (ground.address(name),)
        ]
        return {
            "provider": "bare_metal",
            "username": ground.username,
            "key_path": str(ground.hosts_folder / "client_key"),
            "known_hosts": str(ground.hosts_folder / "known_hosts"),
            "connect_timeout": "5s",
            "targets": targets,
            "start_command": ["sh", "current/bin/start"],
            "stop_command": ["sh", "current/bin/stop"],
            "health": {
                "command": ["sh", f"{self.service}/current/bin/check", region],
                "interval": "200ms",
                "healthy_after": 2,
                "progress_deadline": "3s" if self.kind == "ill" and region == "west" else "60s",
            },
        }


def places(kind: str) -> list[str]:
    """Every place at which a story of a kind can be stopped."""
    steps = [f"{step}:{name}" for step in STEPS for name in NAMES]
    found = [f"{label} {when}" for label in (*FORWARD, *steps) for when in ("before", "after")]
    if kind != "again":  # nothing is started then
        found += [f"activate:{name} during" for name in NAMES]
    found += [f"health:{name} untold" for name in NAMES]
    back = {"back": NAMES, "ill": ("w1",)}.get(kind, ())
    for name in back:
        found += [f"{step}:{name} {when}" for step in ("rollback", "verify") for when in ("before", "untold", "after")]
        found += [f"rollback:{name} during"]
    return found


def choose(chance: Random, service: str, *, old: dict[str, str], new: str, kinds: tuple[str, ...] = STORIES) -> Story:
    """A story and its place, by chance; on a way back where there is one, as often as not."""
    kind = chance.choice(kinds)
    all_places = places(kind)
    backwards = [place for place in all_places if place.startswith(("rollback", "verify"))]
    place = chance.choice(backwards if backwards and chance.random() < 0.5 else all_places)
    return Story(service=service, kind=kind, place=place, old=old, new=new)
