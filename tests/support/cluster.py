"""The production cluster on this machine: three servers with the shipped configuration, TLS, NKeys and accounts."""

import logging
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from fraisier.nats import NatsClient
from fraisier.nats.config import ConnectionConfig
from fraisier.orchestrator.stack.ports import free_ports
from tests.support.nats import find_nats_server

ROOT = Path(__file__).parents[2]
NATS = ROOT / "infra" / "nats"
NODES = ("nats-1", "nats-2", "nats-3")
REGIONS = ("us-east-1", "eu-west-1")
ELECTED_S = 30.0
"""All catch up within this: of 2,100 starts on a loaded machine the slowest took eleven seconds."""
READY_S = 90.0


def make_credentials(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the script, as an operator does."""
    command = [sys.executable, str(NATS / "make_credentials.py"), str(folder), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@dataclass
class Node:
    """One server, with its data; what the shipped files say about ports and addresses is replaced by arguments.

    Attributes:
        folder: its configuration as it is mounted in production, its data and its log.
    """

    name: str
    folder: Path
    ports: dict[str, int]
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"tls://127.0.0.1:{self.ports['client']}"

    @property
    def config(self) -> Path:
        return self.folder / "nats-cluster.conf"

    def start(self, routes: Iterable[str]) -> None:
        """Start it, or start it again on its data."""
        ports = {name: str(port) for name, port in self.ports.items()}
        command = [
            find_nats_server(), "--config", str(self.config), "--addr", "127.0.0.1", "--port", ports["client"],
            "--http_port", ports["monitor"], "--cluster", f"nats://127.0.0.1:{ports['route']}",
            "--cluster_advertise", f"127.0.0.1:{ports['route']}", "--routes", ",".join(routes),
        ]  # fmt: skip
        with (self.folder / "nats.log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log)

    def is_healthy(self) -> bool:
        """Whether it has caught up with the cluster."""
        try:
            return httpx.get(f"http://127.0.0.1:{self.ports['monitor']}/healthz", trust_env=False).is_success
        except httpx.HTTPError:
            return False

    def is_running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def kill(self) -> None:
        """End it as a crash would."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def freeze(self) -> None:
        """Let it stand still."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)

    def log(self) -> str:
        return (self.folder / "nats.log").read_text()[-3000:]


@dataclass
class Cluster:
    """Three nodes and the credentials of whoever uses them."""

    folder: Path
    nodes: dict[str, Node] = field(default_factory=dict)

    @classmethod
    def make(cls, folder: Path) -> "Cluster":
        """Credentials and configuration; nothing runs yet."""
        nodes = [f"--node={name}={name}.test,127.0.0.1" for name in NODES]
        regions = [f"--region={region}" for region in REGIONS]
        made = make_credentials(folder / "credentials", *nodes, *regions, f"--mounted-at={folder}/node")
        assert made.returncode == 0, made.stderr
        cluster = cls(folder)
        ports = free_ports({f"{name} {kind}": 0 for name in NODES for kind in ("client", "route", "monitor")})
        for name in NODES:
            own = {kind: ports[f"{name} {kind}"] for kind in ("client", "route", "monitor")}
            cluster.nodes[name] = Node(name, cluster._configure(name), own)
        return cluster

    def _configure(self, name: str) -> Path:
        own = self.folder / name
        shutil.copytree(self.folder / "credentials" / "nodes" / name, own / "node")
        for file in ("nats-cluster.conf", "accounts.conf"):
            shutil.copy(NATS / file, own)
        node = own / "node" / "node.conf"
        text = node.read_text().replace(f"{self.folder}/node", f"{own}/node").replace('"/data"', f'"{own}/data"')
        node.write_text(text)
        return own

    def start(self, *names: str) -> None:
        """Start some nodes, or all, where they do not run, and wait until they have caught up."""
        started = [self.nodes[name] for name in names or self.nodes]
        self._start(started)
        if not _caught_up(started, ELECTED_S) and self._is_leaderless():
            logging.getLogger(__name__).warning("the nodes found no leader and are started again")
            self.kill()
            self._start(self.nodes.values())
        assert _caught_up(started, READY_S), "\n".join(f"{node.name}: {node.log()}" for node in started)

    def _is_leaderless(self) -> bool:
        """Whether all run and none serves, as docs/production.md tells of."""
        return all(node.is_running() and not node.is_healthy() for node in self.nodes.values())

    def _start(self, nodes: Iterable[Node]) -> None:
        for node in nodes:
            if node.process is None:
                node.start(self.routes)

    @property
    def routes(self) -> list[str]:
        """Where the nodes find each other."""
        return [f"nats://127.0.0.1:{node.ports['route']}" for node in self.nodes.values()]

    def install(self) -> None:
        """Make the streams, the buckets and the consumers, as the installer does."""
        command = [sys.executable, "-m", "fraisier.orchestrator", "events", "install"]
        env = os.environ | self.environment("installer") | {"NATS_TIMEOUT": "30"}
        done = subprocess.run(command, cwd=self.folder, env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr

    def kill(self) -> None:
        """End all."""
        for node in self.nodes.values():
            node.kill()

    def identity(self, who: str) -> Path:
        """The folder of a role or a region."""
        kind = "regions" if who in REGIONS else "roles"
        return self.folder / "credentials" / kind / who

    def environment(self, who: str) -> dict[str, str]:
        """What a process of that role or region is configured with."""
        own = self.identity(who)
        return {
            "NATS_SERVERS": ",".join(node.url for node in self.nodes.values()),
            "NATS_TLS_ENABLED": "true",
            "NATS_TLS_CA_FILE": str(own / "servers.crt"),
            "NATS_TLS_CERT_FILE": str(own / "client.crt"),
            "NATS_TLS_KEY_FILE": str(own / "client.key"),
            "NATS_NKEY_SEED_FILE": str(own / "seed.nk"),
            "NATS_STREAM_REPLICAS": "3",
            "NATS_STREAM_MAX_SIZE": str(64 << 20),
        }

    def client(self, who: str, **options: Any) -> NatsClient:
        """A client of that role or region, not connected yet; with another `tls` it shows what that holds."""
        given = ConnectionConfig.model_validate(self.environment(who)).to_nats_client_kwargs()
        if "tls" in options:
            given["certificate"] = None
        patient = {"timeout": 5, "reconnect_time_wait": 0.1, "max_reconnect_attempts": -1}
        return NatsClient(**{**given, **patient, **options})


def _caught_up(nodes: list[Node], seconds: float) -> bool:
    end = time.monotonic() + seconds
    while not all(node.is_healthy() for node in nodes):
        if time.monotonic() > end:
            return False
        time.sleep(0.1)
    return True
