"""The local stack as the commands, the demo and the tests see it."""

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import SecretStr

from fraisier.orchestrator.launcher import Progress, find_server, fraisier_home, silent
from fraisier.orchestrator.launcher.lock import locked
from fraisier.orchestrator.stack import members, process
from fraisier.orchestrator.stack.crew import Crew
from fraisier.orchestrator.stack.errors import MemberFailed, StackNotRunning
from fraisier.orchestrator.stack.members import MemberSpec
from fraisier.orchestrator.stack.ports import LOOPBACK, free_ports
from fraisier.orchestrator.stack.state import Addresses, StackState, load, save
from fraisier.orchestrator.stack.temporal_server import NAMESPACE

USUAL_PORTS = {"nats_port": 4222, "monitor_port": 8222, "temporal_port": 7233, "ui_port": 8233}
ANY_PORTS = dict.fromkeys(USUAL_PORTS, 0)
PORT_TRIES = 3


@dataclass(frozen=True)
class MemberStatus:
    """How one process of the stack is.

    Attributes:
        name: ``nats``, ``temporal`` or ``worker``.
        pid: its process number.
        alive: whether the process runs.
        ready: whether it does its work.
        log: the file that holds its output.
    """

    name: str
    pid: int
    alive: bool
    ready: bool
    log: Path


class LocalStack:
    """NATS, Temporal and a worker on this machine, which any later command finds again.

    Data, logs and memory stand in ``<home>/stack`` and are kept when the stack is taken down.
    """

    def __init__(self, home: Path | None = None) -> None:
        """Speak of the stack in a home folder, by default `fraisier_home()`. Starts and changes nothing."""
        self.folder = (home or fraisier_home()).absolute() / "stack"
        self._file = self.folder / "stack.json"

    @classmethod
    @contextlib.asynccontextmanager
    async def ephemeral(
        cls, home: Path, progress: Progress = silent, *, worker: bool = False
    ) -> AsyncIterator["LocalStack"]:
        """Run a stack on any free ports for as long as the block runs.

        Args:
            home: a folder of its own; whoever made it removes it.
            progress: is told what is started.
            worker: whether a worker process is started too.

        Raises:
            MemberFailed: a process did not become ready.
            ServerNotFound: a server could not be had.
        """
        stack = cls(home)
        try:
            await stack.up(progress, worker=worker, ports=ANY_PORTS)
            yield stack
        finally:
            await stack.down()

    @property
    def addresses(self) -> Addresses:
        """Where the stack listens.

        Raises:
            StackNotRunning: it was never up.
        """
        return self._state().addresses

    @property
    def ui_url(self) -> str:
        """Temporal's web UI."""
        return f"http://{LOOPBACK}:{self.addresses.ui_port}"

    def env(self) -> dict[str, str]:
        """The variables that connect a program to this stack; among them the NATS password."""
        addresses = self.addresses
        return {
            "NATS_SERVERS": f"nats://{LOOPBACK}:{addresses.nats_port}",
            "NATS_USERNAME": addresses.user,
            "NATS_PASSWORD": addresses.password.get_secret_value(),
            "NATS_MONITORING_URLS": f"http://{LOOPBACK}:{addresses.monitor_port}",
            "TEMPORAL_ADDRESS": f"{LOOPBACK}:{addresses.temporal_port}",
            "TEMPORAL_NAMESPACE": NAMESPACE,
            "TEMPORAL_UI_URL": self.ui_url,
        }

    async def up(
        self, progress: Progress = silent, *, worker: bool = True, ports: Mapping[str, int] = USUAL_PORTS
    ) -> None:
        """Start what does not run yet and wait until all of it works. If that fails, what this call started ends.

        Args:
            progress: is told what is started.
            worker: whether a worker process belongs to it.
            ports: the ports to take where they are free, 0 for any; a stack that ran before takes its own again.

        Raises:
            MemberFailed: a process did not become ready.
            ServerNotFound: a server could not be had.
        """
        nats = (await find_server("nats-server", progress)).path
        temporal = (await find_server("temporal", progress)).path
        await asyncio.to_thread(self.folder.mkdir, mode=0o700, parents=True, exist_ok=True)
        async with self._alone(progress):
            for tries_left in reversed(range(PORT_TRIES)):
                addresses = self._settle(ports)
                specs = [members.nats(nats, self.folder, addresses), members.temporal(temporal, self.folder, addresses)]
                specs += [members.worker(self.env())] if worker else []
                try:
                    await Crew(self.folder, self._file).start(specs, progress)
                except MemberFailed as error:
                    if not (tries_left and error.port_taken and not self._running(self._state())):
                        raise
                    progress(f"{error.member}: another program took its port just now; choosing others")
                else:
                    return

    async def start_member(self, spec: MemberSpec, progress: Progress = silent) -> None:
        """Start one more process of a stack that is up, and wait until it works.

        Raises:
            MemberFailed: it did not become ready.
            StackNotRunning: the stack was never up.
        """
        self._state()
        async with self._alone(progress):
            await Crew(self.folder, self._file).start([spec], progress)

    async def down(self, progress: Progress = silent) -> bool:
        """End every process of the stack, the last started first. Its data stays. Idempotent.

        Returns:
            Whether anything ran.
        """
        if load(self._file) is None:
            return False
        async with self._alone(progress):
            state = self._state()
            running = self._running(state)
            for member in reversed(state.members):
                if member.process.alive:
                    progress(f"{member.name}: ending")
                await process.end(member.process, grace_s=member.grace_s)
            save(self._file, state.model_copy(update={"members": ()}))
        return running

    async def status(self) -> tuple[MemberStatus, ...]:
        """How every process that was started is; empty when the stack is down."""
        state = load(self._file)
        members_started = state.members if state else ()
        return tuple([await self._status_of(member.name) for member in members_started])

    async def _status_of(self, name: str) -> MemberStatus:
        state = self._state()
        (member,) = (member for member in state.members if member.name == name)
        alive = member.process.alive
        ready = alive and await members.ready(name, state.addresses)
        return MemberStatus(name, member.process.pid, alive=alive, ready=ready, log=member.log)

    def _state(self) -> StackState:
        state = load(self._file)
        if state is None:
            raise StackNotRunning(f"no stack was started in {self.folder}: run `fraisier up`")
        return state

    def _alone(self, progress: Progress) -> contextlib.AbstractAsyncContextManager[None]:
        """Two commands at once would each start half a stack."""
        return locked(
            self.folder / ".lock", waiting="another command is busy with the stack; waiting", progress=progress
        )

    def _settle(self, wished: Mapping[str, int]) -> Addresses:
        """The addresses of the stack that runs; or new ones, the old again where they are still free."""
        state = load(self._file)
        if state and self._running(state):
            return state.addresses
        if state:
            wished = {name: getattr(state.addresses, name) for name in wished}
        password = state.addresses.password if state else SecretStr(secrets.token_urlsafe(24))
        addresses = Addresses(**free_ports(wished), password=password)
        save(self._file, StackState(addresses=addresses))
        return addresses

    @staticmethod
    def _running(state: StackState) -> bool:
        return any(member.process.alive for member in state.members)
