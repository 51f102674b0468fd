"""The ground that rollouts run on: servers, hosts and workers, real processes of this run, each of which can die."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from temporalio.client import Client
from typing_extensions import Self

from fraisier.nats import NatsClient, NatsEventBus, get_nats_config
from fraisier.orchestrator.client import FraisierClient
from fraisier.orchestrator.connections import Connections
from fraisier.orchestrator.stack import LocalStack
from fraisier.orchestrator.stack.local import ANY_PORTS
from fraisier.workflows.converter import DATA_CONVERTER
from tests.faults import hosts
from tests.faults.cluster import Three
from tests.faults.disk import Disk
from tests.faults.sshds import Sshds

ROOT = Path(__file__).parents[2]
READY_S = 120.0
REGIONS = {"east": ("e1", "e2"), "west": ("w1",)}
SMALL = "w1"
"""The host with a disk of its own, where we may mount one."""
DISK = "100m"
NAMES = tuple(name for names in REGIONS.values() for name in names)
GROUNDS = ("one", "three", "sshd")
STREAM_BYTES = 128 << 20
FIRST_GROUP = 61000
"""The first worker's group; each has one of its own where we are apart, by which its packets can be told."""


class Child:
    """A process of ours that is ready once its log holds a word once more than before."""

    def __init__(
        self, name: str, command: list[str], log: Path, word: str, env: dict[str, str], *, group: int | None = None
    ) -> None:
        self.name = name
        self.log = log
        self.group = group
        self._command, self._word, self._env = command, word, os.environ | env
        self.process: subprocess.Popen[bytes] | None = None

    async def start(self) -> None:
        """Start it, and wait until it is ready."""
        before = self._said()
        self.process = self._run(subprocess.PIPE)
        end = time.monotonic() + READY_S
        while self._said() == before:
            alive = self.process.poll() is None and time.monotonic() < end
            assert alive, f"{self.name}: {self.log.read_text()[-3000:]}"
            await asyncio.sleep(0.1)

    async def refuses_to_start(self) -> str:
        """Start it where it must end by itself, with an error; what it said."""
        where = self.log.stat().st_size
        ended = self._run(subprocess.DEVNULL)
        try:
            assert await asyncio.to_thread(ended.wait, READY_S), f"{self.name} ended well"
        finally:
            ended.kill()
            ended.wait()
        return self.log.read_text()[where:]

    def _run(self, stdin: int) -> "subprocess.Popen[bytes]":
        with self.log.open("ab") as log:
            return subprocess.Popen(
                self._command, stdin=stdin, stdout=log, stderr=log, env=self._env, cwd=ROOT, group=self.group
            )

    async def kill(self, number: int = signal.SIGKILL) -> None:
        """Send a signal that ends it, and wait for that."""
        if self.process is None:
            return
        self.process.send_signal(number)
        await asyncio.to_thread(self.process.wait, 60)
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process = None

    async def tell(self, line: str) -> None:
        """Write a line to its stdin, and wait until it says that it did as told."""
        assert self.process is not None
        assert self.process.stdin is not None
        done, end = f"done {line}", time.monotonic() + READY_S
        before = self.log.read_text().count(done)
        self.process.stdin.write(f"{line}\n".encode())
        self.process.stdin.flush()
        while self.log.read_text().count(done) == before:
            assert time.monotonic() < end, f"{self.name} did not {line}"
            await asyncio.sleep(0.05)

    def freeze(self) -> None:
        assert self.process is not None
        freeze(self.process.pid)

    def thaw(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)

    def _said(self) -> int:
        return self.log.read_text().count(self._word) if self.log.exists() else 0


def freeze(pid: int) -> None:
    """Stop a process, and wait until all of it stands: a busy machine delivers the signal later."""
    os.kill(pid, signal.SIGSTOP)
    while any(") T " not in (task / "stat").read_text() for task in Path(f"/proc/{pid}/task").iterdir()):
        time.sleep(0.01)


class Ground:
    """Everything of a run. Its folder keeps logs, and of failed rounds the records.

    Args:
        folder: empty.
        mounts: whether one host gets a disk of its own; we have to be apart for that.
        nats_disk: whether NATS gets one too.
        kind: one of `GROUNDS`, see `tests.faults.rows.Row.on`.
    """

    def __init__(self, folder: Path, *, kind: str, mounts: bool, nats_disk: bool = False) -> None:
        self.folder = folder
        self.stack = LocalStack(folder / "servers")
        self.three = Three(folder / "three") if kind == "three" else None
        self._nats_disk = Disk(folder / "nats.disk", self.stack.folder / "jetstream") if nats_disk else None
        self._mounts = mounts
        self.hosts_folder = folder / "hosts"
        self.hosts_folder.mkdir(parents=True)
        hosts.prepare(self.hosts_folder, [*NAMES])
        self.sshds = Sshds(self.hosts_folder, [*NAMES]) if kind == "sshd" else None
        self.hosts = Child(
            "hosts",
            [sys.executable, "-m", "tests.faults.hosts", str(self.hosts_folder), *NAMES],
            folder / "hosts.log",
            "ready",
            {},
        )
        for name in ("armed", "reached"):
            (folder / name).mkdir()
        self.workers: list[Child] = []

    async def __aenter__(self) -> Self:
        try:
            if self._mounts:
                await self._mount()
            if self._nats_disk is not None:
                await self._nats_disk.mount()
            await self.servers_up()
            if self.three is not None:
                await self.three.install()
            await (self.sshds or self.hosts).start()
            self.worker = self.another_worker()
            await self.worker.start()
            env = self.env()
            os.environ.update({name: value for name, value in env.items() if name.startswith("NATS_STREAM_")})
            self.temporal = await Client.connect(env["TEMPORAL_ADDRESS"], data_converter=DATA_CONVERTER)
            self.nats = self.nats_client()
            await self.nats.connect()
        except BaseException:
            await self._end()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        try:
            await self.nats.disconnect()
        finally:
            await self._end()

    async def servers_up(self) -> None:
        """Start NATS and Temporal, or whichever of them is dead, on the same ports and data."""
        await self.stack.up(worker=False, ports=ANY_PORTS)

    def env(self) -> dict[str, str]:
        """What connects a program to the servers."""
        one = {"NATS_STREAM_MAX_SIZE": str(STREAM_BYTES), "NATS_STREAM_REPLICAS": "1"}
        return {**self.stack.env(), **(one if self.three is None else self.three.env())}

    @property
    def nats_disk(self) -> Disk:
        """NATS's own disk, for rows that asked for it."""
        assert self._nats_disk is not None
        return self._nats_disk

    @property
    def username(self) -> str:
        """Who logs in at the hosts."""
        return self.sshds.username if self.sshds is not None else "deploy"

    def nats_client(self) -> NatsClient:
        """A client that may do everything, not connected yet."""
        if self.three is not None:
            return self.three.admin()
        env = self.stack.env()
        return NatsClient(
            [env["NATS_SERVERS"]],
            username=env["NATS_USERNAME"],
            password=env["NATS_PASSWORD"],
            max_reconnect_attempts=-1,
        )

    async def server_pid(self, name: str) -> int:
        return next(one.pid for one in await self.stack.status() if one.name == name)

    def another_worker(self, extra: dict[str, str] | None = None) -> Child:
        """One more worker, not started yet; `extra` is more of its environment."""
        number = len(self.workers) + 1
        env = {
            **self.env(),
            **(extra or {}),
            "FAULTS": str(self.folder),
            "FRAISIER_ARTIFACT_CACHE": str(self.folder / f"artifacts-{number}"),
        }
        log = self.folder / f"worker-{number}.log"
        group = FIRST_GROUP + number if self._mounts else None
        child = Child(
            f"worker-{number}", [sys.executable, "-m", "tests.faults.worker"], log, "worker polls", env, group=group
        )
        self.workers.append(child)
        return child

    @property
    def client(self) -> FraisierClient:
        bus = NatsEventBus(self.nats)
        return FraisierClient(Connections(self.temporal, self.nats, bus, get_nats_config()))

    @property
    def secret(self) -> str:
        """What no record may hold."""
        return self.three.seed if self.three is not None else self.stack.env()["NATS_PASSWORD"]

    def address(self, name: str) -> tuple[str, int]:
        """Where a host listens."""
        import json  # noqa: PLC0415

        return "127.0.0.1", json.loads((self.hosts_folder / "ports.json").read_text())[name]

    def target(self, name: str) -> str:
        """A host's name in plans, events and records."""
        return "{}:{}".format(*self.address(name))

    def root(self, name: str, service: str) -> Path:
        """Where a host keeps a service."""
        return self.hosts_folder / name / "home" / service

    def port(self, server: str) -> int:
        """The port of ``nats`` or ``temporal``."""
        addresses = self.stack.addresses
        return addresses.nats_port if server == "nats" else addresses.temporal_port

    def release(self) -> None:
        """Let everything go on that stands at its place."""
        for reached in (self.folder / "reached").iterdir():
            reached.unlink(missing_ok=True)
        for hold in self.hosts_folder.glob("*/home/*/hold"):
            hold.unlink(missing_ok=True)

    async def _mount(self) -> None:
        home = self.hosts_folder / SMALL / "home"
        home.mkdir(exist_ok=True)
        command = ["mount", "-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", str(home)]
        assert await (await asyncio.create_subprocess_exec(*command)).wait() == 0, command

    async def _end(self) -> None:
        self.release()
        for child in (*self.workers, self.hosts):
            if child.process is not None:
                child.thaw()
                await child.kill()
        if self.sshds is not None:
            await self.sshds.kill()
        await self.stack.down()
        if self.three is not None:
            self.three.kill()
        if self._nats_disk is not None:
            await self._nats_disk.unmount()
        if self._mounts:
            await (await asyncio.create_subprocess_exec("umount", "-l", str(self.hosts_folder / SMALL / "home"))).wait()
