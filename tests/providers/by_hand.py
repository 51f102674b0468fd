"""What the tests of bare metal do to a host by hand."""

import asyncio
import shutil
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncssh
import pytest

from fraisier.providers.bare_metal import BareMetalProvider, script
from fraisier.providers.models import Release
from fraisier.providers.testing import Rollout
from tests.providers.ssh_bench import SshBench


async def connected(bench: SshBench, **changed: object) -> BareMetalProvider:
    provider = bench.provider(**changed)
    await provider.connect()
    return provider


async def staged(provider: BareMetalProvider, bench: SshBench, generation: int, version: str):
    """Stage a release and give the step that activates it."""
    rollout = Rollout(bench, generation=generation)
    await provider.stage(rollout.step("stage"), bench.release(version))
    return rollout.step("activate")


@asynccontextmanager
async def uploading(
    bench: SshBench, rollout: Rollout, release: Release
) -> AsyncIterator[asyncssh.SSHClientProcess[bytes]]:
    """Begin to stage, up to where the host waits for the artifact."""
    options = bench.provider()._options
    command = script.command_line(script.act("stage", options, rollout.step("stage"), release.ref))
    async with asyncssh.connect(
        bench.host.host, bench.host.port, username=bench.host.username, client_keys=[str(bench.key)],
        known_hosts=str(bench.known_hosts), config=None, agent_path=None,
    ) as connection:  # fmt: skip
        process = await connection.create_process(command, encoding=None)
        assert await process.stdout.readline() == b"fraisier send\n"
        yield process


async def until(true) -> None:
    """Wait until something is so."""
    while not true():  # noqa: ASYNC110 (the host tells nobody)
        await asyncio.sleep(0.02)


async def until_serving(bench: SshBench, version: str) -> None:
    while await bench.serving() != version:  # noqa: ASYNC110 (the service tells nobody)
        await asyncio.sleep(0.05)


def only_tools(bench: SshBench, folder: Path, *more: str, without: tuple[str, ...] = ()) -> None:
    """Give the host's commands few tools, and of those that take locks only python3 and what is given."""
    folder.mkdir()
    basic = (
        "sh awk cat chmod cut date df dirname env find grep gzip head id ln ls mkdir mv ps readlink rm sed sha256sum "
        "sleep sync tail tar timeout tr wc"
    )
    (folder / "python3").symlink_to(Path(sys.executable).resolve())
    for tool in {*basic.split(), *more} - {*without, "python3"}:
        (folder / tool).symlink_to(shutil.which(tool) or pytest.fail(f"no {tool} here"))
    bench.host.environment["PATH"] = str(folder)
