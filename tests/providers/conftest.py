"""Hosts to deploy to, for the tests of the bare-metal provider."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.providers.ssh_bench import SshBench


@pytest.fixture
async def ssh_bench(tmp_path: Path) -> AsyncIterator[SshBench]:
    """A running SSH host with nothing deployed."""
    bench = SshBench(tmp_path)
    await bench.host.start()
    bench.know()
    yield bench
    await bench.host.stop()
