"""Fraisier as users run it: the servers of `fraisier up`, a worker process, and the ``fraisier`` command."""

import asyncio
import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from measuring.command import tell
from measuring.fleet import PORT, Fleet
from measuring.job import Release
from measuring.running import Measured, WatchedMemory, cpu_of, environment, run
from temporalio.client import Client

from fraisier.orchestrator.stack import LocalStack
from fraisier.orchestrator.stack.local import ANY_PORTS
from fraisier.orchestrator.steering import workflow_id
from fraisier.workflows.converter import DATA_CONVERTER
from fraisier.workflows.rollout import RolloutWorkflow

SERVICE = "bench"
REGION = "here"
SIDE = "fraisier"
FRAISIER = [sys.executable, "-m", "fraisier.orchestrator"]
READY = "worker polls"
WORKER_WITHIN_S = 30


class Ours:
    """One stack that all measurements share.

    Args:
        stack: NATS and Temporal, up.
        folder: for manifests and artifacts.
        fleet: the hosts.
    """

    def __init__(self, stack: LocalStack, folder: Path, fleet: Fleet) -> None:
        self.stack = stack
        self._folder, self._fleet = folder, fleet
        self._env = {**environment(), **stack.env(), "FRAISIER_HOME": str(folder / "home")}
        self._worker: subprocess.Popen[bytes] | None = None

    def renew_worker(self) -> float:
        """End the worker and start another, which knows no connection yet; how long it took to be ready, in seconds."""
        self.end_worker()
        began = time.perf_counter()
        said = self._folder / "worker.log"
        with said.open("wb") as log:
            self._worker = subprocess.Popen([*FRAISIER, "worker"], env=self._env, stdout=log, stderr=log)
        # Temporal tells of pollers long after they are gone: only the worker itself knows.
        while READY not in said.read_text():
            if time.perf_counter() - began > WORKER_WITHIN_S or self._worker.poll() is not None:
                sys.exit(f"the worker is not ready:\n{said.read_text()[-2000:]}")
            time.sleep(0.02)
        return time.perf_counter() - began

    def end_worker(self) -> None:
        """End the worker, if one runs."""
        if self._worker is not None:
            self._worker.terminate()
            self._worker.wait()
            self._worker = None

    def deploy(self, count: int, release: Release) -> Measured:
        """``fraisier rollout start`` from its start to its exit; CPU and memory are the worker's."""
        manifest = self._folder / f"rollout-{count}-{release.version}.yaml"
        manifest.write_text(json.dumps(self._manifest(count, release)))
        with self._watched() as worker:
            done = run([*FRAISIER, "rollout", "start", str(manifest)], self._env)
        return Measured(done.seconds, worker.cpu, worker.memory_mb)

    def roll_back(self) -> Measured:
        """From the verb to the end of the rollout that takes back what the last one changed."""
        with self._watched() as worker:
            began = time.perf_counter()
            run([*FRAISIER, "rollback", SERVICE], self._env)
            result = asyncio.run(self._result())
            seconds = time.perf_counter() - began
        assert result == "rolled_back", result
        return Measured(seconds, worker.cpu, worker.memory_mb)

    async def _result(self) -> str:
        client = await self.temporal()
        result = await client.get_workflow_handle_for(RolloutWorkflow.run, workflow_id(SERVICE)).result()
        return result.phase.value

    async def temporal(self) -> Client:
        """A client of the stack's Temporal."""
        return await Client.connect(self._env["TEMPORAL_ADDRESS"], data_converter=DATA_CONVERTER)

    @contextlib.contextmanager
    def _watched(self) -> Iterator["WorkerUse"]:
        assert self._worker is not None
        pid, used = self._worker.pid, WorkerUse()
        before = cpu_of(pid)
        with WatchedMemory(pid) as memory:
            yield used
        used.cpu, used.memory_mb = cpu_of(pid) - before, memory.peak_mb

    def _manifest(self, count: int, release: Release) -> dict[str, object]:
        hosts = self._fleet.addresses[:count]
        check = f'exec "$HOME/{SIDE}/current/bin/app" check'
        return {
            "service": SERVICE,
            "release": {"version": release.version, "artifact": str(release.artifact)},
            "waves": [{"regions": [REGION]}],
            "decision_timeout": "0s",
            "regions": {
                REGION: {
                    "provider": "bare_metal",
                    "username": self._fleet.username,
                    "key_path": str(self._fleet.key),
                    "known_hosts": str(self._fleet.known_hosts),
                    "port": PORT,
                    "targets": [{"host": host, "root": str(self._fleet.root(host) / SIDE)} for host in hosts],
                    "batch": {"max_parallel": "100%"},
                    "start_command": ["current/bin/app", "restart"],
                    "stop_command": ["current/bin/app", "stop"],
                    "health": {"command": ["sh", "-c", check], "healthy_after": 1},
                }
            },
        }


class WorkerUse:
    """What the worker used."""

    cpu = 0.0
    memory_mb = 0.0


@contextlib.contextmanager
def running_ours(folder: Path, fleet: Fleet) -> Iterator[Ours]:
    """A stack and a worker for as long as the block runs."""
    (folder / "home").mkdir()
    stack = LocalStack(folder / "home")
    try:
        asyncio.run(stack.up(tell, worker=False, ports=ANY_PORTS))
        ours = Ours(stack, folder, fleet)
        try:
            yield ours
        finally:
            ours.end_worker()
    finally:
        asyncio.run(stack.down())
