"""``fraisier events serve`` as a process, on a test's own NATS server."""

import asyncio
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.support.nats import PASSWORD, USER, NatsServer

PATIENCE_S = 30


@pytest.fixture
def nats_env(nats_server: NatsServer, tmp_path: Path) -> dict[str, str]:
    """The environment of a process that uses the test's server."""
    own = {"NATS_SERVERS": nats_server.url, "NATS_USERNAME": USER, "NATS_PASSWORD": PASSWORD}
    return os.environ | own | {"FRAISIER_HOME": str(tmp_path / "home")}


@asynccontextmanager
async def serving(port: int, env: dict[str, str]) -> AsyncIterator[Process]:
    """The process, ended by SIGTERM; it must end well."""
    command = (sys.executable, "-m", "fraisier.orchestrator", "events", "serve", "--port", str(port))
    process = await asyncio.create_subprocess_exec(*command, env=env, stderr=PIPE)
    try:
        await logged(process, "events are logged")
        yield process
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), PATIENCE_S) == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def logged(process: Process, text: str) -> str:
    """Read the log up to a line with this text, and return that line."""
    assert process.stderr is not None
    lines = []

    async def read() -> str:
        assert process.stderr is not None
        async for raw in process.stderr:
            lines.append(raw.decode())
            if text in lines[-1]:
                return lines[-1]
        raise AssertionError(f"never logged {text!r}: {lines}")

    return await asyncio.wait_for(read(), PATIENCE_S)
