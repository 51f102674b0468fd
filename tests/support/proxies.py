"""Real proxies in front of tests' services, and a load that counts what its clients see."""

import asyncio
import json
import shutil
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from tests.providers.ssh_bench import free_port

START_S = 60.0
CLIENTS = 4

HAPROXY = """\
global
    stats socket {folder}/admin.sock mode 600 level admin
    stats socket ipv4@127.0.0.1:{admin} level admin
defaults
    mode http
    retries 0
    timeout connect 5s
    timeout client 60s
    timeout server 60s
    timeout check 20s
frontend front
    bind 127.0.0.1:{front}
    default_backend api
backend api
    option httpchk GET /health
    default-server check inter 200ms rise 2 fall 3
    {servers}
"""


@dataclass
class Proxy:
    """A running proxy.

    Attributes:
        url: where clients ask.
        admin: the port of its admin API.
        socket: its admin API as a unix socket, where it has one.
    """

    url: str
    admin: int
    socket: str = ""


@asynccontextmanager
async def haproxy(folder: Path, servers: Sequence[str]) -> AsyncIterator[Proxy]:
    """HAProxy over servers given as ``127.0.0.1:port``, called ``web1``, ``web2``, …; retries are off."""
    front, admin = free_port(), free_port()
    lines = "\n    ".join(f"server web{number} {server}" for number, server in enumerate(servers, start=1))
    config = folder / "haproxy.cfg"
    config.write_text(HAPROXY.format(folder=folder, admin=admin, front=front, servers=lines))
    async with _running("haproxy", "-f", str(config), port=front, log=folder / "haproxy.log"):
        yield Proxy(f"http://127.0.0.1:{front}/", admin, f"unix:{folder}/admin.sock")


@asynccontextmanager
async def caddy(folder: Path, servers: Sequence[str]) -> AsyncIterator[Proxy]:
    """Caddy over servers given as ``127.0.0.1:port``."""
    front, admin = free_port(), free_port()
    handler = {"handler": "reverse_proxy", "upstreams": [{"dial": server} for server in servers]}
    server = {
        "listen": [f"127.0.0.1:{front}"],
        "automatic_https": {"disable": True},
        "routes": [{"handle": [handler]}],
    }
    config = folder / "caddy.json"
    config.write_text(
        json.dumps(
            {
                "admin": {"listen": f"127.0.0.1:{admin}", "config": {"persist": False}},
                "apps": {"http": {"servers": {"srv0": server}}},
            }
        )
    )
    async with _running("caddy", "run", "--config", str(config), port=front, log=folder / "caddy.log"):
        yield Proxy(f"http://127.0.0.1:{front}/", admin)


@dataclass
class Load:
    """What the clients of a constant load saw.

    Attributes:
        answers: how often each body came, with status 200.
        failures: everything else, in words.
    """

    answers: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)


@asynccontextmanager
async def load(url: str) -> AsyncIterator[Load]:
    """Clients that ask one request after the other for as long as the block runs, each request on its own connection.

    A connection that is kept may be closed by a proxy at the moment that a request is sent on it (RFC 9112, 9.5):
    clients try again then, and what a proxy loses would not be seen among it.
    """
    seen, over = Load(), asyncio.Event()

    async def ask() -> None:
        async with httpx.AsyncClient(
            trust_env=False, timeout=60, limits=httpx.Limits(max_keepalive_connections=0)
        ) as client:
            while not over.is_set():
                try:
                    answer = await client.get(url)
                except httpx.HTTPError as error:
                    seen.failures.append(repr(error))
                    continue
                if answer.status_code == httpx.codes.OK:
                    seen.answers[answer.text] += 1
                else:
                    seen.failures.append(f"HTTP {answer.status_code}")
                await asyncio.sleep(0.01)

    clients = [asyncio.create_task(ask()) for _ in range(CLIENTS)]
    try:
        yield seen
    finally:
        over.set()
        await asyncio.gather(*clients)


@asynccontextmanager
async def _running(program: str, *arguments: str, port: int, log: Path) -> AsyncIterator[None]:
    path = shutil.which(program) or shutil.which(program, path="/usr/sbin:/sbin")
    if path is None:
        pytest.fail(f"there is no {program}: `make setup-tests` installs it")
    with log.open("wb") as out:
        process = await asyncio.create_subprocess_exec(path, *arguments, stdout=out, stderr=out)
    try:
        deadline = time.monotonic() + START_S
        while not await _listens(port):
            assert process.returncode is None, log.read_text()[-2000:]
            assert time.monotonic() < deadline, log.read_text()[-2000:]
            await asyncio.sleep(0.05)
        yield
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def _listens(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    await writer.wait_closed()
    return True
