"""The provider keeps the contract, and is found by its name."""

import hashlib
import io
import os
import secrets
import signal
import socket
import tarfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from fraisier_local_process import LocalProcessProvider
from fraisier_local_process.place import Place

from fraisier.nats import NatsEventBus
from fraisier.providers.models import Release
from fraisier.providers.registry import load_provider
from fraisier.providers.testing import ProviderContract, Rollout

API = """\
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

class Api(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response({status})
        self.end_headers()
        self.wfile.write(b"{version}")

    def log_message(self, *args):
        pass

print("api {version} starts", flush=True)
ThreadingHTTPServer(("127.0.0.1", {port}), Api).serve_forever()
"""


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


class LocalBench:
    """A folder with nothing deployed, and what can be asked there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.service = f"api-{secrets.token_hex(4)}"
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}/health"
        self.silent_url = f"http://127.0.0.1:{free_port()}/health"
        self.place = Place(folder / "srv", target="t1")

    def provider(self, event_bus: NatsEventBus | None = None) -> LocalProcessProvider:
        config = {"name": "t1", "root": str(self.place.root), "start": ["python3", "api.py"]}
        return LocalProcessProvider(config, event_bus=event_bus, region="test")

    def release(self, version: str, *, healthy: bool = True) -> Release:
        artifact = self.folder / f"{version}-{healthy}.tar.gz"
        if not artifact.exists():
            program = API.format(version=version, status=200 if healthy else 500, port=self.port).encode()
            with tarfile.open(artifact, "w:gz") as archive:
                entry = tarfile.TarInfo("api.py")
                entry.size = len(program)
                archive.addfile(entry, io.BytesIO(program))
        digest = f"sha256:{hashlib.sha256(artifact.read_bytes()).hexdigest()}"
        return Release(service=self.service, version=version, digest=digest, artifact=artifact)

    async def serving(self) -> str:
        try:
            async with httpx.AsyncClient(trust_env=False) as client:
                return (await client.get(self.url)).text
        except httpx.TransportError:
            return ""

    async def instance(self) -> str:
        running = self.place.read().running
        return str(running.process) if running and running.process.is_alive else ""

    def clean(self) -> None:
        running = self.place.read().running
        if running and running.process.is_alive:
            os.killpg(running.process.pid, signal.SIGKILL)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[LocalBench]:
    bench = LocalBench(tmp_path)
    yield bench
    bench.clean()


class TestLocalProcess(ProviderContract):
    """All of the contract."""


def test_it_is_found_by_its_name():
    assert load_provider("local_process") is LocalProcessProvider


async def test_the_process_outlives_who_started_it(bench: LocalBench):
    provider, release = bench.provider(), bench.release("1.0.0")
    await Rollout(bench, generation=1).deploy(provider, release)
    os.killpg(bench.place.read().running.process.pid, signal.SIGKILL)
    again = Rollout(bench, generation=2)
    assert not (await provider.stage(again.step("stage"), release)).changed
    assert (await provider.activate(again.step("activate"), release)).changed
