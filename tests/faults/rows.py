"""The faults, one a row: each comes when the rollouts of a round stand at their places, and is healed at its end."""

import asyncio
import os
import signal
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from random import Random

from tests.faults.ground import Ground, freeze
from tests.faults.records import Attempt
from tests.faults.stories import MUST_END, Story

HEARTBEAT_TIMEOUT_S = 10


@dataclass
class Scene:
    """What a fault may use.

    Attributes:
        told: what it did, for the record.
        attempts: what it tried, and must be refused.
        crashed: whether a host died in mid-step, so that a service may have been started once more.
        began: when its rollouts were started.
    """

    ground: Ground
    stories: list[Story]
    chance: Random
    told: list[str] = field(default_factory=list)
    attempts: list[Attempt] = field(default_factory=list)
    crashed: bool = False
    began: float = field(default_factory=time.time)

    def say(self, text: str) -> None:
        self.told.append(text)

    async def down(self, *choices: float) -> None:
        """Stay so for a while, by chance one of these seconds."""
        seconds = self.chance.choice(choices)
        self.say(f"for {seconds} s")
        await asyncio.sleep(seconds)


Act = Callable[[Scene], Awaitable[None]]


@dataclass(frozen=True)
class Row:
    """A row of the matrix.

    Attributes:
        may_end: how a rollout may end beside what its story says.
        instead: whether one that it meets on its way forward must end so, and not as its story says.
        isolated: whether it needs a network and mounts of its own.
        on: which ground: ``one``, ``three`` where NATS is the production cluster, ``sshd`` with OpenSSH's own servers.
        nats_disk: whether NATS needs a disk of its own.
        needs: a file below /usr/lib without which it cannot be played.
        kinds: the stories it is for, when not all.
    """

    name: str
    act: Act
    may_end: tuple[str, ...] = ()
    instead: bool = False
    isolated: bool = False
    on: str = "one"
    nats_disk: bool = False
    needs: str = ""
    kinds: tuple[str, ...] = ()

    def must_end(self, story: Story) -> list[str]:
        """The phases in which a rollout may end."""
        own = [] if self.instead and story.reached and not story.is_back else [MUST_END[story.kind]]
        return [*own, *self.may_end]


ROWS: dict[str, Row] = {}


def row(
    name: str,
    *,
    may_end: tuple[str, ...] = (),
    instead: bool = False,
    isolated: bool = False,
    on: str = "one",
    nats_disk: bool = False,
    needs: str = "",
    kinds: tuple[str, ...] = (),
) -> Callable[[Act], Act]:
    """Enter a fault into the matrix."""

    def enter(act: Act) -> Act:
        ROWS[name] = Row(name, act, may_end, instead, isolated, on, nats_disk, needs, kinds)
        return act

    return enter


@row("none")
async def none(scene: Scene) -> None:
    """Nothing at all: what is wrong here is wrong without a fault."""
    scene.say("nothing")


# --- workers ---


@row("worker-kill")
async def worker_kill(scene: Scene) -> None:
    """The worker is killed at once, and another one started."""
    await scene.ground.worker.kill()
    scene.say("worker killed")
    await scene.down(0, 2)
    scene.ground.release()
    await scene.ground.worker.start()


@row("same-again", kinds=("again",))
async def same_again(scene: Scene) -> None:
    """The worker is killed while what runs already is rolled out once more."""
    await worker_kill(scene)


@row("worker-term")
async def worker_term(scene: Scene) -> None:
    """The worker is asked to end: what runs may finish, and what does not is done by the next one."""
    worker = scene.ground.worker
    assert worker.process is not None
    worker.process.terminate()
    scene.say("worker terminated")
    if scene.chance.random() < 0.5:
        scene.ground.release()
    await asyncio.to_thread(worker.process.wait, 60)
    scene.ground.release()
    await worker.start()


@row("worker-zombie")
async def worker_zombie(scene: Scene) -> None:
    """The worker stands still until its steps were given to another one; then it goes on where it was."""
    ground = scene.ground
    other = ground.another_worker()
    ground.worker.freeze()
    scene.say("worker frozen")
    await other.start()
    await scene.down(HEARTBEAT_TIMEOUT_S + 3)
    ground.release()
    ground.worker.thaw()
    scene.say("worker thawed")
    await scene.down(3)
    await other.kill(signal.SIGTERM)


@row("workers-share")
async def workers_share(scene: Scene) -> None:
    """Two workers take each other's steps in turn; then one of them is killed."""
    ground = scene.ground
    other = ground.another_worker()
    await other.start()
    ground.release()
    scene.say("two workers")
    await scene.down(1, 3, 6)
    lost = scene.chance.choice((ground.worker, other))
    await lost.kill()
    scene.say(f"{lost.name} killed")
    await scene.down(1, 4)
    if lost is ground.worker:
        await lost.start()
    await other.kill(signal.SIGTERM)


@row("worker-blocked")
async def worker_blocked(scene: Scene) -> None:
    """The worker's event loop stands still, longer than a heartbeat may be late or shorter."""
    seconds = scene.chance.choice((5, HEARTBEAT_TIMEOUT_S + 2))
    (scene.ground.folder / "blocking").write_text(str(seconds))
    scene.say(f"worker blocked for {seconds} s")
    await asyncio.sleep(seconds + 1)
    (scene.ground.folder / "blocking").unlink(missing_ok=True)


# --- servers ---


@row("temporal-kill")
async def temporal_kill(scene: Scene) -> None:
    """Temporal is killed; what ends while it is away cannot be reported."""
    await kill_server(scene, "temporal")
    if scene.chance.random() < 0.5:
        scene.ground.release()
    await scene.down(2, 12)
    await scene.ground.servers_up()


@row("temporal-stop")
async def temporal_stop(scene: Scene) -> None:
    """Temporal stands still."""
    await _stop(scene, "temporal", 3, 15)


@row("nats-kill")
async def nats_kill(scene: Scene) -> None:
    """NATS is killed; what would be told waits."""
    await kill_server(scene, "nats")
    if scene.chance.random() < 0.5:
        scene.ground.release()
    await scene.down(0, 3, 8)
    await scene.ground.servers_up()


@row("nats-stop")
async def nats_stop(scene: Scene) -> None:
    """NATS stands still: what was sent may be stored long after its publisher has given up and tried again."""
    await _stop(scene, "nats", 3, 12)


@row("everything")
async def everything(scene: Scene) -> None:
    """All is killed at once, and started again in an order of chance."""
    ground = scene.ground
    for name in ("nats", "temporal"):
        await kill_server(scene, name)
    for child in (ground.worker, ground.hosts):
        await child.kill()
    scene.say("worker and hosts killed")
    scene.crashed = True
    ground.release()
    parts: list[Callable[[], Awaitable[None]]] = [ground.servers_up, ground.hosts.start]
    scene.chance.shuffle(parts)
    for start in parts:
        await start()
    await ground.worker.start()


async def kill_server(scene: Scene, name: str) -> None:
    """Kill ``nats`` or ``temporal``; `Ground.servers_up` brings it back."""
    pid = await scene.ground.server_pid(name)
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    scene.say(f"{name} killed")
    await asyncio.sleep(0.2)


async def _stop(scene: Scene, name: str, *choices: float) -> None:
    pid = await scene.ground.server_pid(name)
    freeze(pid)
    scene.say(f"{name} frozen")
    if scene.chance.random() < 0.7:
        scene.ground.release()
    await scene.down(*choices)
    os.kill(pid, signal.SIGCONT)
