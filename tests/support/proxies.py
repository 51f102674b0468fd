"""Real proxies in front of tests' services."""

import asyncio
import json
import shutil
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.providers.ssh_bench import free_port

START_S = 60.0
EXAMPLE = Path(__file__).parents[2] / "examples" / "caddy" / "Caddyfile"

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


@asynccontextmanager
async def caddy_by_files(folder: Path, servers: Sequence[str]) -> AsyncIterator[Proxy]:
    """The example's Caddy over two servers given as ``127.0.0.1:port``; their files are in ``folder/traffic``."""
    front = free_port()
    lights = folder / "traffic"
    lights.mkdir()
    for server in servers:
        (lights / server).touch()
    config = (
        EXAMPLE.read_text().replace("/var/lib/caddy/traffic", str(lights)).replace("http://:8000", f"http://:{front}")
    )
    for number, server in enumerate(servers, start=1):
        config = config.replace(f"10.0.0.{number}:8080", server)
    path = folder / "Caddyfile"
    path.write_text(f"{{\n\tadmin off\n\tauto_https off\n}}\n{config}")
    arguments = ("run", "--config", str(path), "--adapter", "caddyfile")
    async with _running("caddy", *arguments, port=front, log=folder / "caddy.log"):
        yield Proxy(f"http://127.0.0.1:{front}/", admin=0)


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
